"""Reading mailboxes of a real Dovecot: nothing lost, nothing doubled, nothing touched that was not asked for."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from adapters.base import PermanentError, TemporaryError
from adapters.email import Email, EmailOptions
from adapters.email import imap_session as session_module
from gateway import telemetry
from gateway.commands.prove import _inbox as check_inbox
from gateway.intake import NotDurableError
from gateway.poller import keep_polling
from tests.mail.mailboxes import desk_at, mail, mails, number_of, reading, until
from tests.services.dovecot import PASSWORD, DovecotServer
from tests.services.process import MissingProgramError

pytestmark = pytest.mark.asyncio(
    loop_factories=["asyncio"]
)  # threads and processes do the work, whatever loop waits for them
LONG_AGO = datetime(2019, 5, 17, 8, 30, tzinfo=UTC)


@pytest.fixture(scope="module")
def dovecot() -> Iterator[DovecotServer]:
    try:
        server = DovecotServer()
    except MissingProgramError as error:
        pytest.skip(str(error))
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture
def user(dovecot: DovecotServer) -> str:
    return dovecot.make_user()


@pytest.fixture
def imap(dovecot: DovecotServer, user: str) -> dict[str, Any]:
    """Options of the user's mailbox."""
    return {"host": "127.0.0.1", "port": dovecot.port, "tls": "none", "user": user, "password": PASSWORD}


# --- what comes --------------------------------------------------------------------------------------------------


async def test_mail_comes_once_untouched_with_the_day_it_arrived(
    dovecot: DovecotServer, user: str, imap: dict[str, Any]
) -> None:
    odd = b"From: a@example.org\r\nMessage-ID: <odd@x>\r\nSubject: \xff\xfe raw\r\n\r\n\x7f\x80 . \r\n.\r\nno line end"
    dovecot.append(user, mail(1), odd, date=LONG_AGO)
    async with reading(imap) as reader:
        assert await reader.poll() == ["1", "odd"]
        assert [raw.body for raw in reader.arrived] == [mail(1), odd]
        assert {raw.facts["internal_date"] for raw in reader.arrived} == {LONG_AGO.isoformat()}
        assert await reader.poll() == []
        dovecot.append(user, mail(2))
        assert await reader.poll() == ["2"]
    assert dovecot.count(user) == 3
    assert not any(rb"\Seen" in line for line in dovecot.flags(user)), "reading marked mail as read"


@pytest.mark.parametrize("way", ["starttls", "tls", "token", "token_command", "none"])
async def test_every_way_of_logging_in(dovecot: DovecotServer, user: str, way: str) -> None:
    dovecot.append(user, mail(1))
    token = dovecot.make_token(user)
    sealed = {"host": "localhost", "port": dovecot.tls_port, "ca_file": str(dovecot.certificate), "user": user}
    ways: dict[str, dict[str, Any]] = {
        "tls": sealed | {"password": PASSWORD},
        "starttls": sealed | {"password": PASSWORD, "port": dovecot.port, "tls": "starttls"},
        "none": {"host": "localhost", "port": dovecot.port, "tls": "none", "user": user, "password": PASSWORD},
        "token": sealed | {"access_token": token},
        "token_command": sealed | {"token_command": f"printf '%s\\n' {token}"},
    }
    async with reading(ways[way]) as reader:
        assert await reader.poll() == ["1"]


async def test_a_token_that_is_not_valid_is_refused_for_good(dovecot: DovecotServer, user: str) -> None:
    options = {"host": "localhost", "port": dovecot.tls_port, "ca_file": str(dovecot.certificate), "user": user}
    async with reading(options | {"access_token": dovecot.make_token("nobody@example.com")}) as reader:
        with pytest.raises(PermanentError, match="AUTHENTICATIONFAILED"):
            await reader.poll()


async def test_what_is_sent_ahead_of_starttls_is_not_taken_for_sealed(dovecot: DovecotServer) -> None:
    """CVE-2021-33515 from the other side: a man in the middle appends to the answer that comes before the handshake."""
    heard: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"* OK ready\r\n")
        while line := await reader.readline():
            tag, _, command = line.decode().strip().partition(" ")
            heard.append(command)
            if command == "STARTTLS":
                forged = f"{tag[:-1]}{int(tag[-1]) + 1}"  # tags are easily guessed
                writer.write(f"{tag} OK go\r\n* CAPABILITY IMAP4rev1 LOGINDISABLED\r\n{forged} OK done\r\n".encode())
                await writer.drain()
                await writer.start_tls(dovecot.server_context())
                continue
            answer = "* CAPABILITY IMAP4rev1 STARTTLS\r\n" if command == "CAPABILITY" else ""
            writer.write(f"{answer}{tag} OK done\r\n".encode())
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    options = {"host": "localhost", "port": port, "tls": "starttls", "ca_file": str(dovecot.certificate)}
    try:
        async with reading(options | {"user": "desk", "password": "pw"}) as reader:
            with pytest.raises(TemporaryError):  # this server has no folders
                await reader.poll()
    finally:
        server.close()
        await server.wait_closed()
    assert any(command.startswith("LOGIN") for command in heard), "the forged LOGINDISABLED was believed"


async def test_a_server_we_cannot_trust_gets_no_password(dovecot: DovecotServer, user: str) -> None:
    for port, tls in ((dovecot.tls_port, "tls"), (dovecot.port, "starttls")):
        options = {"host": "localhost", "port": port, "tls": tls, "user": user, "password": PASSWORD}
        async with reading(options) as reader:
            with pytest.raises(TemporaryError, match="CERTIFICATE_VERIFY_FAILED"):
                await reader.poll()
    assert user not in dovecot.log


async def test_folders_with_any_name_are_read_and_one_that_is_missing_stops_none(
    dovecot: DovecotServer, user: str, imap: dict[str, Any]
) -> None:
    names = ["INBOX", 'Größe & "Maß"', "Kunden\\Alt", "票"]
    for number, name in enumerate(names):
        dovecot.append(user, mail(number), folder=_wire_name(name))
    async with reading(imap | {"folders": [*names[:2], "Nowhere", *names[2:]]}) as reader:
        with pytest.raises(TemporaryError, match="Nowhere"):
            await reader.poll()
        assert sorted(number_of(raw.body) for raw in reader.arrived) == ["0", "1", "2", "3"]
        dovecot.append(user, mail(4), folder=_wire_name(names[3]))
        with pytest.raises(TemporaryError, match="Nowhere"):
            await reader.poll()
        assert [number_of(raw.body) for raw in reader.arrived][4:] == ["4"]


async def test_what_lay_there_before_import_since_is_left_alone(
    dovecot: DovecotServer, user: str, imap: dict[str, Any]
) -> None:
    dovecot.append(user, mail(1), date=LONG_AGO)
    dovecot.append(user, mail(2), date=datetime(2024, 3, 1, 12, tzinfo=UTC))
    async with reading(imap | {"import_since": "2024-01-01"}) as reader:
        assert await reader.poll() == ["2"]
        dovecot.append(user, mail(3), date=LONG_AGO)
        assert await reader.poll() == ["3"], "a mail that came after us counts, however old it says it is"


async def test_a_large_folder_is_searched_in_windows_each_mail_once(
    dovecot: DovecotServer, user: str, imap: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "SEARCH_WINDOW", 4)
    numbers = [str(number) for number in range(130)]
    dovecot.append(user, *mails(*numbers))
    async with reading(imap) as reader:
        assert await reader.poll() == numbers
        dovecot.append(user, mail("last"))
        assert await reader.poll() == ["last"]


async def test_of_a_mail_that_is_too_large_the_header_comes_and_a_person_hears(
    dovecot: DovecotServer, user: str, imap: dict[str, Any], tmp_path: Path
) -> None:
    dovecot.append(user, mail(1), mail("big", text="x" * 20_000), mail(3))
    async with desk_at(tmp_path, imap | {"max_bytes": 10_000, "after": "move:Done"}) as desk:
        assert await desk.poll() == 3
        assert await desk.record() == {"ticketed": 2, "suspended": 1}
        [cause] = await desk.column("suspended", "cause")
        assert "too large" in cause
        assert "INBOX" in cause
        assert await desk.column("suspended", "subject") == ["case big"]
    assert dovecot.count(user) == 1, "the large one stays where a person can read it"


# --- the cursor ----------------------------------------------------------------------------------------------------


async def test_a_poller_that_dies_between_pages_goes_on_behind_the_last_one(
    dovecot: DovecotServer, user: str, imap: dict[str, Any]
) -> None:
    numbers = [str(number) for number in range(50)]
    dovecot.append(user, *mails(*numbers))
    async with reading(imap) as reader:
        first = await reader.poll(pages=1)
        await reader.forget()
        assert 0 < len(first) < 50
        assert first + await reader.poll() == numbers


async def test_a_folder_made_anew_is_read_again_and_makes_no_ticket_twice(
    dovecot: DovecotServer, user: str, imap: dict[str, Any], tmp_path: Path
) -> None:
    dovecot.append(user, *mails(1, 2, 3), folder="Support")
    async with desk_at(tmp_path, imap | {"folders": ["Support"]}) as desk:
        assert await desk.poll() == 3
        before = json.loads(await desk.cursor())["folders"]["Support"]["validity"]
        with dovecot.opened(user) as client:
            assert client.delete("Support")[0] == "OK"
        await asyncio.to_thread(_wait_for_the_next_second)  # Dovecot's UIDVALIDITY is the second a folder was made in
        dovecot.append(user, *mails(2, 3, 4), folder="Support")
        assert await desk.poll() == 3
        state = json.loads(await desk.cursor())["folders"]["Support"]
        assert state["validity"] != before
        assert await desk.record() == {"ticketed": 4, "duplicate": 2}
        assert len(await desk.column("tickets", "id")) == 4


async def test_kill_9_between_accept_and_cursor_loses_nothing_and_doubles_nothing(
    dovecot: DovecotServer, user: str, imap: dict[str, Any], tmp_path: Path
) -> None:
    dovecot.append(user, *mails(*range(45)))
    deaths = []
    for at in (1, 2, 1):
        arguments = [str(tmp_path), json.dumps(imap), str(at)]
        victim = await asyncio.create_subprocess_exec(sys.executable, "-m", "tests.mail.mailbox_victim", *arguments)
        deaths.append(await victim.wait())
    assert deaths == [-signal.SIGKILL] * 3
    async with desk_at(tmp_path, imap) as desk:
        await desk.free_lease()
        await desk.poll()
        outcomes = await desk.record()
        assert outcomes["ticketed"] == 45
        assert outcomes["duplicate"] >= 40, "what was accepted before each kill was read again, and recognised"
        assert len(await desk.column("tickets", "id")) == 45
        assert await desk.poll() == 0


# --- afterwards ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", ["move:Done/Größe", "flag:$Frontdesk", r"flag:\Seen", "keep"])
async def test_mail_is_moved_or_flagged_after_it_was_accepted_and_not_before(
    dovecot: DovecotServer, user: str, imap: dict[str, Any], after: str
) -> None:
    dovecot.append(user, *mails(1, 2, 3))
    untouched = dovecot.flags(user)
    adapter = Email("support", EmailOptions.model_validate({"imap": imap | {"after": after.replace("Done/", "")}}))
    try:
        seen_before_accept = [dovecot.flags(user) async for page in adapter.poll("") if page.arrivals]
        assert seen_before_accept == [untouched]
    finally:
        await adapter.close()
    if after.startswith("move"):
        assert dovecot.count(user) == 0
        assert dovecot.count(user, _wire_name("Größe")) == 3
    elif after == "keep":
        assert dovecot.flags(user) == untouched
    else:
        assert all(after[5:].encode() in line for line in dovecot.flags(user))


async def test_what_was_refused_stays_where_it_is(dovecot: DovecotServer, user: str, imap: dict[str, Any]) -> None:
    dovecot.append(user, *mails(1, 2, 3))
    async with reading(imap | {"after": "move:Done"}) as reader:
        assert await reader.poll(refuse=["2"]) == ["1", "3"]
    assert dovecot.count(user) == 1
    assert dovecot.count(user, "Done") == 2


async def test_what_a_dead_poller_owed_is_moved_by_the_next_one(
    dovecot: DovecotServer, user: str, imap: dict[str, Any]
) -> None:
    dovecot.append(user, *mails(1, 2))
    async with reading(imap | {"after": "move:Done"}) as reader:
        assert await reader.poll(pages=1) == ["1", "2"]
        assert dovecot.count(user) == 2
        await reader.forget()
        assert await reader.poll() == []
    assert dovecot.count(user) == 0
    assert dovecot.count(user, "Done") == 2


async def test_what_could_not_be_stored_is_neither_moved_nor_passed_over(
    dovecot: DovecotServer, user: str, imap: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dovecot.append(user, *mails(1, 2, 3))
    async with desk_at(tmp_path, imap | {"after": "move:Done"}) as desk:
        accept, calls = desk.runtime.intake.accept, []

        async def full_disk(*arguments: Any) -> Any:
            calls.append(arguments)
            if len(calls) == 2:
                raise NotDurableError("the disk is full")
            return await accept(*arguments)

        with monkeypatch.context() as patch:
            patch.setattr(desk.runtime.intake, "accept", full_disk)
            with pytest.raises(NotDurableError):
                await desk.poll()
        assert await desk.cursor() == ""
        assert dovecot.count(user) == 3
        assert await desk.poll() == 3
        assert await desk.record() == {"ticketed": 3, "duplicate": 1}
    assert dovecot.count(user, "Done") == 3


# --- the poller ----------------------------------------------------------------------------------------------------


async def test_new_mail_wakes_the_poller_long_before_its_time(
    dovecot: DovecotServer, user: str, imap: dict[str, Any], tmp_path: Path
) -> None:
    async with desk_at(tmp_path, imap | {"poll_seconds": 3600}) as desk:
        stop = asyncio.Event()
        polling = asyncio.create_task(keep_polling(desk.runtime, desk.runtime.inboxes["support"], stop))
        try:
            for number in (1, 2, 3):
                await asyncio.to_thread(dovecot.append, user, mail(number))
                await _waiting(desk, number)
        finally:
            stop.set()
            await asyncio.wait_for(polling, 10)
    await until(lambda: dovecot.log.count(f"imap({user})") >= 1)


async def test_a_wrong_password_is_loud_at_once_and_says_no_secret(
    imap: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = "not-the-pass-word"
    async with desk_at(tmp_path, imap | {"password": wrong}) as desk:
        inbox, stop = desk.runtime.inboxes["support"], asyncio.Event()
        with caplog.at_level(logging.DEBUG):
            polling = asyncio.create_task(keep_polling(desk.runtime, inbox, stop))
            await until(lambda: b'frontdesk_poll_failing{inbox="support"} 1.0' in telemetry.render_metrics())
            stop.set()
            await asyncio.wait_for(polling, 10)
        said = [record.getMessage() for record in caplog.records if record.name == "gateway.poller"]
        assert said == [
            f"cannot poll: mailbox {imap['user']} at 127.0.0.1: [AUTHENTICATIONFAILED] Authentication failed."
        ]
        assert wrong not in caplog.text
        finding = await check_inbox(inbox)
        assert finding.state == "failed"
        assert "AUTHENTICATIONFAILED" in finding.sentence
        telemetry.polling("support", failing=False)


async def test_check_says_what_is_in_a_mailbox_that_can_be_reached(
    dovecot: DovecotServer, user: str, imap: dict[str, Any], tmp_path: Path
) -> None:
    dovecot.append(user, mail(1), mail(2))
    settings = {"FRONTDESK_DATA_DIR": str(tmp_path), "FRONTDESK_INBOXES__SUPPORT__CHANNEL": "email"}
    settings |= {f"FRONTDESK_INBOXES__SUPPORT__IMAP__{name.upper()}": str(value) for name, value in imap.items()}
    command = [sys.executable, "-c", "from gateway.cli import run; raise SystemExit(run(['check']))"]
    asked = await asyncio.create_subprocess_exec(
        *command, env=os.environ | settings, cwd=tmp_path, stdout=asyncio.subprocess.PIPE
    )
    said, _ = await asked.communicate()
    line = next(line for line in said.decode().splitlines() if "inbox support" in line)
    assert line.startswith("ok")
    assert "INBOX 2 mails; new mail is told at once" in line


async def test_a_server_that_restarts_is_found_again(
    tmp_path: Path, dovecot: DovecotServer, user: str, imap: dict[str, Any]
) -> None:
    dovecot.append(user, mail(1))
    async with reading(imap) as reader:
        assert await reader.poll() == ["1"]
        await asyncio.to_thread(dovecot.halt)
        try:
            with pytest.raises(TemporaryError):
                await reader.poll()
        finally:
            await asyncio.to_thread(dovecot.start)
        dovecot.append(user, mail(2))
        assert await reader.poll() == ["2"]


async def test_an_account_that_is_another_one_starts_from_the_beginning(
    dovecot: DovecotServer, user: str, imap: dict[str, Any]
) -> None:
    other = dovecot.make_user()
    dovecot.append(user, mail(1))
    dovecot.append(other, mail(2))
    async with reading(imap) as reader:
        assert await reader.poll() == ["1"]
        await reader.forget()
        reader.imap = imap | {"user": other}
        assert await reader.poll() == ["2"]


async def test_without_a_mailbox_nothing_is_polled() -> None:
    adapter = Email("support", EmailOptions())
    assert not adapter.polls
    assert await adapter.reach() == ""
    with pytest.raises(PermanentError):
        adapter.poll("")


def _wire_name(name: str) -> str:
    from imapclient.imap_utf7 import encode

    return str(encode(name).decode())


def _wait_for_the_next_second() -> None:
    import time

    time.sleep(1.1)


async def _waiting(desk: Any, count: int) -> None:
    async with asyncio.timeout(20):
        while (await desk.runtime.queue.depth()).ready.get("email", 0) < count:
            await asyncio.sleep(0.02)
