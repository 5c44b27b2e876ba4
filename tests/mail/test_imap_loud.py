"""A mailbox that fails in the quietest way, by saying nothing, is known within a minute: metric and log."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from adapters.email import imap_wire
from adapters.email.imap_options import ImapOptions
from gateway import telemetry
from gateway.poller import keep_polling
from tests.fakes.imap import FakeImap, Mail
from tests.mail.mailboxes import desk_at, mail, until
from tests.mail.test_imap_faults import options_for

ONE_LOOP_WILL_DO = True
FAILING = b'frontdesk_poll_failing{inbox="support"} 1.0'


def test_the_longest_silence_and_the_pause_before_it_are_less_than_a_minute() -> None:
    pause = ImapOptions(host="imap.example.org", user="support", password="x").poll_seconds
    assert pause + imap_wire.READ_SECONDS < 60


async def test_a_server_that_falls_silent_is_loud_and_so_is_its_return(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(imap_wire, "READ_SECONDS", 0.25)
    async with FakeImap(Mail(1, mail(1))) as server:
        imap = options_for(server) | {"poll_seconds": 1}
        async with desk_at(tmp_path, imap) as desk:
            inbox, stop = desk.runtime.inboxes["support"], asyncio.Event()
            with caplog.at_level(logging.INFO):
                polling = asyncio.create_task(keep_polling(desk.runtime, inbox, stop))
                try:
                    await until(lambda: bool(server.asked("SEARCH")))
                    server.answers["SEARCH"] = lambda asked: b""
                    server.answers["LOGIN"] = lambda asked: b""
                    await until(lambda: FAILING in telemetry.render_metrics())
                    server.answers.clear()
                    await until(lambda: FAILING not in telemetry.render_metrics())
                finally:
                    stop.set()
                    await asyncio.wait_for(polling, 10)
            said = [record.getMessage() for record in caplog.records if record.name == "gateway.poller"]
            assert said[0].startswith("cannot poll: mailbox ")
            assert said[-1] == "polled again"
