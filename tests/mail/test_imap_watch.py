"""Every folder that is read is watched: by real Dovecot, and by a server that refuses, hangs up or cannot."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from adapters.email import imap_watch
from tests.fakes.imap import FakeImap, Folder, Mail
from tests.mail.mailboxes import Reader, mail, reading, until
from tests.services.dovecot import PASSWORD, DovecotServer
from tests.services.process import MissingProgramError

pytestmark = pytest.mark.asyncio(loop_factories=["asyncio"])


@pytest.fixture(scope="module")
def dovecot() -> Iterator[DovecotServer]:
    try:
        server = DovecotServer()
    except MissingProgramError as error:
        pytest.skip(str(error))
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def server() -> AsyncIterator[FakeImap]:
    async with FakeImap(Mail(1, mail(1))) as running:
        yield running


@pytest.fixture
async def reader(server: FakeImap) -> AsyncIterator[Reader]:
    options: dict[str, Any] = {"host": "127.0.0.1", "port": server.port, "tls": "none", "user": "u", "password": "p"}
    async with reading(options | {"folders": ["INBOX", "Archive"]}) as opened:
        yield opened


async def test_dovecot_tells_of_mail_in_the_second_folder(dovecot: DovecotServer) -> None:
    user = dovecot.make_user()
    dovecot.append(user, mail(1))
    dovecot.append(user, mail(2), folder="Support")
    options = {"host": "127.0.0.1", "port": dovecot.port, "tls": "none", "user": user, "password": PASSWORD}
    async with reading(options | {"folders": ["INBOX", "Support"]}) as reader:
        assert sorted(await reader.poll()) == ["1", "2"]
        assert reader.adapter is not None
        for number, folder in ((3, "Support"), (4, "INBOX"), (5, "Support")):
            waiting = asyncio.create_task(reader.adapter.idle(3_600))
            await asyncio.sleep(0)
            dovecot.append(user, mail(number), folder=folder)
            await asyncio.wait_for(waiting, 20)
            came: list[str] = []
            while not came:  # a wait begun before the last mail was read may end once more for it
                came = await reader.poll()
                if not came:
                    await asyncio.wait_for(reader.adapter.idle(3_600), 20)
            assert came == [str(number)]


async def test_news_in_any_folder_end_the_wait_and_connections_are_kept(server: FakeImap, reader: Reader) -> None:
    assert await reader.poll() == ["1"]
    assert reader.adapter is not None
    for number in (2, 3):
        waiting = asyncio.create_task(reader.adapter.idle(3_600))
        await until(lambda: len(server.asked("IDLE")) >= 2)
        server.folders["Archive"].mails.append(Mail(number, mail(number)))
        server.news.set()
        await asyncio.wait_for(waiting, 10)
        assert await reader.poll() == [str(number)]
    assert server.logins == 3, "one to read, one a folder to watch"


async def test_a_folder_that_cannot_be_watched_fails_nothing(
    server: FakeImap, reader: Reader, caplog: pytest.LogCaptureFixture
) -> None:
    assert await reader.poll() == ["1"]
    assert reader.adapter is not None
    server.login = "NO [LIMIT] too many connections"
    with caplog.at_level(logging.WARNING):
        await reader.adapter.idle(0.3)
        await reader.adapter.idle(0.3)
    told = [record.getMessage() for record in caplog.records if "cannot be watched" in record.getMessage()]
    assert len(told) == 2, "once a folder"
    assert len(server.asked("LOGIN")) == 3, "and it is left alone for a while"
    assert await reader.poll() == []


@pytest.mark.parametrize("idle", ["bye", "cut"])
async def test_a_server_that_hangs_up_while_it_is_watched(server: FakeImap, reader: Reader, idle: str) -> None:
    await reader.poll()
    assert reader.adapter is not None
    server.idle = idle
    await reader.adapter.idle(0.5)
    assert server.logins == 3
    assert await reader.poll() == []


async def test_a_server_without_idle_is_waited_for_the_whole_time(server: FakeImap, reader: Reader) -> None:
    server.capabilities = "IMAP4rev1"
    await reader.poll()
    assert reader.adapter is not None
    await reader.adapter.idle(0.3)
    await reader.adapter.idle(0.05)
    assert not server.asked("IDLE")
    await until(lambda: server.open == 1)


async def test_no_more_connections_than_allowed_and_none_are_left(server: FakeImap, reader: Reader) -> None:
    names = [f"Folder{number}" for number in range(10)]
    server.folders |= {name: Folder() for name in names}
    reader.imap["folders"] = names
    await reader.poll()
    assert reader.adapter is not None
    waiting = asyncio.create_task(reader.adapter.idle(3_600))
    await until(lambda: len(server.asked("IDLE")) == imap_watch.MOST)
    assert server.open == imap_watch.MOST + 1
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await asyncio.wait_for(reader.adapter.close(), 10)
    await until(lambda: server.open == 0)
