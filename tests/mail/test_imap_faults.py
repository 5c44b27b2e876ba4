"""Reading mailboxes of a server that cuts, lies, stalls and talks nonsense (F50, A106): nothing lost or exhausted."""

from __future__ import annotations

import asyncio
import json
import logging
import tracemalloc
from collections.abc import AsyncIterator
from typing import Any

import pytest

from adapters.base import PermanentError, Raw, TemporaryError
from adapters.email import Email, EmailOptions, imap_walk, imap_wire
from gateway.poller import pause_after
from normalizer.message import MessageDraft
from tests.fakes.imap import PASSWORD, USER, FakeImap, Folder, Mail
from tests.mail.mailboxes import Reader, mail, number_of, reading, until

pytestmark = pytest.mark.asyncio(
    loop_factories=["asyncio"]
)  # threads and processes do the work, whatever loop waits for them
MEMORY = 12 * 2**20  # octets; a hostile answer is gigabytes


@pytest.fixture
async def server() -> AsyncIterator[FakeImap]:
    """Five mails, of which a test makes the third one bad."""
    async with FakeImap(*(Mail(uid, mail(uid)) for uid in range(1, 6))) as fake:
        yield fake


@pytest.fixture
async def reader(server: FakeImap) -> AsyncIterator[Reader]:
    async with reading(options_for(server)) as opened:
        yield opened


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Silence is noticed after a quarter of a second instead of twenty."""
    monkeypatch.setattr(imap_wire, "READ_SECONDS", 0.25)


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The clock of the holes, to be moved by hand."""
    clock = [1_000_000.0]
    monkeypatch.setattr("adapters.email.imap.time.time", lambda: clock[0])
    return clock


def options_for(server: FakeImap, **more: Any) -> dict[str, Any]:
    return {"host": "127.0.0.1", "port": server.port, "tls": "none", "user": USER, "password": PASSWORD} | more


def state_of(reader: Reader, folder: str = "INBOX") -> dict[str, Any]:
    state: dict[str, Any] = json.loads(reader.cursor)["folders"][folder]
    return state


# --- one bad mail ------------------------------------------------------------------------------------------------

BAD = ["cut", "refuse", "nil", "omit", "unknown", "number", "short", "long", "endless", "line", "nested"]


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("fault", BAD)
async def test_one_bad_mail_is_a_hole_and_the_others_come(server: FakeImap, reader: Reader, fault: str) -> None:
    bad = server.inbox.mails[2]
    bad.fault = fault
    tracemalloc.start()
    try:
        assert await reader.poll() == ["1", "2", "4", "5"]
        assert tracemalloc.get_traced_memory()[1] < MEMORY
    finally:
        tracemalloc.stop()
    assert [hole[0] for hole in state_of(reader)["holes"]] == [3]
    assert state_of(reader)["uid"] == 5
    assert await reader.poll() == [], "still bad, and nothing is read twice"
    bad.fault = ""
    assert await reader.poll() == [], "it waits for its time"
    state = json.loads(reader.cursor)
    state["folders"]["INBOX"]["holes"][0][2] = 0  # its time has come
    reader.cursor = json.dumps(state)
    assert await reader.poll() == ["3"]
    assert "holes" not in state_of(reader)
    assert reader.arrived[-1].body == bad.body


async def test_a_mail_that_never_comes_is_shown_to_a_person_once(
    server: FakeImap, reader: Reader, soon: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    server.inbox.mails[2].fault = "refuse"
    came = []
    for _ in range(12):
        came += await reader.poll()
        assert state_of(reader)["uid"] == 5
        soon[0] += 7 * 3600
    assert came == ["1", "2", "4", "5", "3"]
    told = reader.arrived[-1]
    [draft] = Email("support", EmailOptions()).normalize(told)
    assert isinstance(draft, MessageDraft)
    assert draft.subject == "case 3"
    assert "could not be fetched" in draft.suspend
    assert "UID 3" in draft.suspend
    assert caplog.text.count("a mail could not be fetched") == 1
    server.inbox.mails[2].fault = ""
    soon[0] += 7 * 3600
    assert await reader.poll() == ["3"], "and it is taken in whole when it can be had after all"


async def test_two_mails_of_which_nothing_can_be_had_are_two_messages() -> None:
    adapter = Email("support", EmailOptions())
    keys = set()
    for uid in (3, 4):
        facts = {"held": "it could not be fetched", "mailbox": f"INBOX;UIDVALIDITY=7;UID={uid}"}
        [draft] = adapter.normalize(Raw(b"", "message/rfc822", facts))
        assert isinstance(draft, MessageDraft)
        assert draft.suspend == "it could not be fetched"
        keys.add(draft.delivery_key)
    assert len(keys) == 2


async def test_a_mail_that_is_gone_is_no_hole(server: FakeImap, reader: Reader) -> None:
    def remove(command: str) -> None:
        if "RFC822.SIZE" in command:
            server.inbox.mails = [item for item in server.inbox.mails if item.uid != 3]

    server.before = remove
    assert await reader.poll() == ["1", "2", "4", "5"]
    assert "holes" not in state_of(reader)


async def test_two_gigabytes_are_not_read(server: FakeImap, reader: Reader) -> None:
    server.inbox.mails[2].fault = "huge"
    tracemalloc.start()
    try:
        assert await reader.poll() == ["1", "2", "3", "4", "5"]
        assert tracemalloc.get_traced_memory()[1] < MEMORY
    finally:
        tracemalloc.stop()
    held = reader.arrived[2]
    assert held.body == server.inbox.mails[2].header
    assert "too large: 2147483648 octets" in held.facts["held"]


async def test_a_size_that_says_two_gigabytes_is_believed(server: FakeImap, reader: Reader) -> None:
    server.inbox.mails[2].size = 2**31
    assert await reader.poll() == ["1", "2", "3", "4", "5"]
    assert not [command for command in server.asked("BODY.PEEK[]") if "FETCH 3 " in command or "FETCH 1:5" in command]
    assert "too large" in reader.arrived[2].facts["held"]


async def test_sizes_that_are_too_small_cost_nothing(server: FakeImap, reader: Reader) -> None:
    for item in server.inbox.mails:
        item.body = mail(item.uid, text="x" * 100_000)
        item.size = 7
    assert await reader.poll() == ["1", "2", "3", "4", "5"]
    assert [raw.body for raw in reader.arrived] == [item.body for item in server.inbox.mails]


async def test_two_mails_with_one_uid_are_both_taken(server: FakeImap, reader: Reader) -> None:
    server.inbox.mails.insert(3, Mail(3, mail("twin")))
    assert sorted(await reader.poll()) == ["1", "2", "3", "4", "5", "twin"]


async def test_read_marks_of_others_are_nobodys_state(server: FakeImap, reader: Reader) -> None:
    for item in server.inbox.mails:
        item.flags = {r"\Seen"}
    assert len(await reader.poll()) == 5
    for item in server.inbox.mails:
        item.flags = set()
    assert await reader.poll() == []
    assert not server.asked("STORE")
    assert server.asked("EXAMINE")
    assert not server.asked("SELECT")


async def test_a_server_that_always_hangs_up_is_left_in_peace(server: FakeImap, reader: Reader) -> None:
    server.inbox.mails = [Mail(uid, mail(uid), fault="cut") for uid in range(1, 61)]
    with pytest.raises(TemporaryError, match="hung up"):
        await reader.poll()
    assert server.logins <= 21
    known = len(state_of(reader)["holes"])
    assert known >= 15, "what was found out is kept"
    with pytest.raises(TemporaryError):
        await reader.poll()
    assert state_of(reader)["uid"] > known


async def test_a_mailbox_of_holes_says_so_and_passes_nothing_over(
    server: FakeImap, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imap_walk, "MAX_HOLES", 3)
    for item in server.inbox.mails:
        item.fault = "refuse"
    with pytest.raises(TemporaryError, match="more than 3 mails cannot be fetched"):
        await reader.poll()
    assert state_of(reader)["uid"] == 3
    for item in server.inbox.mails:
        item.fault = ""
    assert sorted(await reader.poll()) == ["1", "2", "3", "4", "5"]


# --- a folder that changes ---------------------------------------------------------------------------------------


async def test_uidvalidity_changes_between_polls(server: FakeImap, reader: Reader) -> None:
    assert len(await reader.poll()) == 5
    server.folders["INBOX"] = Folder(2_000, [Mail(uid, mail(uid + 1)) for uid in range(1, 6)])
    assert await reader.poll() == ["2", "3", "4", "5", "6"]
    assert state_of(reader)["validity"] == 2_000


async def test_uidvalidity_changes_while_a_folder_is_read(server: FakeImap, reader: Reader) -> None:
    server.inbox.mails[2].fault = "cut"

    def rebuild(command: str) -> None:
        if "FETCH 3 (UID BODY" in command:
            server.folders["INBOX"] = Folder(2_000, [Mail(uid, mail(f"new{uid}")) for uid in range(1, 6)])

    server.before = rebuild
    with pytest.raises(TemporaryError, match="was replaced"):
        await reader.poll()
    server.before = lambda command: None
    assert await reader.poll() == [f"new{uid}" for uid in range(1, 6)]


async def test_a_backup_put_back_without_a_new_uidvalidity_is_noticed(server: FakeImap, reader: Reader) -> None:
    assert len(await reader.poll()) == 5
    server.inbox.mails = [Mail(1, mail(1)), Mail(2, mail("other"))]
    assert await reader.poll() == ["1", "other"]


async def test_a_server_that_does_not_tell_uidnext(server: FakeImap, reader: Reader) -> None:
    server.inbox.uid_next = 0
    reader.imap["import_since"] = "2020-01-01"
    server.inbox.mails[0].date = "02-Mar-2019 10:00:00 +0100"
    assert await reader.poll() == ["2", "3", "4", "5"]
    server.inbox.mails.append(Mail(9, mail(9), date="02-Mar-2019 10:00:00 +0100"))
    assert await reader.poll() == ["9"]
    assert await reader.poll() == []


# --- afterwards --------------------------------------------------------------------------------------------------


async def test_a_server_without_move_copies_and_removes_just_these(server: FakeImap, reader: Reader) -> None:
    server.capabilities = "IMAP4rev1 UIDPLUS"
    reader.imap["after"] = "move:Archive"
    assert len(await reader.poll()) == 5
    assert server.inbox.mails == []
    assert len(server.folders["Archive"].mails) == 5
    assert server.asked("UID EXPUNGE 1:5")


@pytest.mark.parametrize(
    ("after", "capabilities", "permanent", "what"),
    [
        ("move:Archive", "IMAP4rev1", r"(\Seen \*)", "neither MOVE"),
        ("flag:$Done", "IMAP4rev1", r"(\Seen)", "does not keep the flag"),
    ],
)
async def test_mail_comes_in_even_where_it_cannot_be_tidied_and_that_is_loud(
    server: FakeImap, reader: Reader, after: str, capabilities: str, permanent: str, what: str
) -> None:
    server.capabilities, server.permanent = capabilities, permanent
    reader.imap["after"] = after
    for number in (6, 7):
        with pytest.raises(TemporaryError, match=what) as failed:
            await reader.poll()
        assert pause_after(failed.value, 9) == 30.0, "mail is asked for as often as ever"
        server.inbox.mails.append(Mail(number, mail(number)))
    assert [number_of(raw.body) for raw in reader.arrived] == ["1", "2", "3", "4", "5", "6"]
    assert state_of(reader)["after"] == "1:6"
    await reader.forget()
    server.capabilities, server.permanent = "IMAP4rev1 MOVE", r"(\*)"
    assert await reader.poll() == ["7"]
    assert "after" not in state_of(reader)


async def test_a_folder_that_may_only_be_read_is_read(server: FakeImap, reader: Reader) -> None:
    server.read_only = True
    reader.imap["after"] = "move:Archive"
    with pytest.raises(TemporaryError, match="INBOX may only be read"):
        await reader.poll()
    assert len(reader.arrived) == 5
    assert not server.asked("MOVE")


# --- a server that talks nonsense --------------------------------------------------------------------------------

NONSENSE: list[tuple[str, str, bytes]] = [
    ("a line without end", "SEARCH", b"* SEARCH " + b"1 " * 3_000_000),
    ("untagged lines without end", "SEARCH", b"* 7 EXPUNGE\r\n" * 400_000),
    ("a number of a million digits", "SEARCH", b"* SEARCH " + b"9" * 900_000 + b"\r\nTAG OK done\r\n"),
    ("no numbers", "SEARCH", b"* SEARCH one two\r\nTAG OK done\r\n"),
    ("another tag", "SEARCH", b"* SEARCH 1 2\r\nZZZZ9 OK done\r\n"),
    ("not IMAP", "SEARCH", b"HTTP/1.1 200 OK\r\n\r\n<html>\r\n"),
    ("an unfinished answer", "FETCH", b"* 1 FETCH (UID 1 RFC822.SIZE\r\nTAG OK done\r\n"),
    ("a literal of a million digits", "FETCH", b"* 1 FETCH (UID 1 BODY[] {" + b"9" * 900_000 + b"}\r\n"),
    ("parentheses without end", "FETCH", b"* 1 FETCH " + b"(" * 500_000 + b"\r\nTAG OK done\r\n"),
    ("a literal below zero", "FETCH", b"* 1 FETCH (UID 1 BODY[] {-5}\r\nTAG OK done\r\n"),
    ("four billion mails", "EXAMINE", b"* 4294967295 EXISTS\r\n* OK [UIDVALIDITY 7] uids\r\nTAG OK done\r\n"),
    ("no UIDVALIDITY", "EXAMINE", b"* 5 EXISTS\r\nTAG OK done\r\n"),
    ("UIDVALIDITY is no number", "EXAMINE", b"* 5 EXISTS\r\n* OK [UIDVALIDITY x] uids\r\nTAG OK done\r\n"),
    ("bytes that are no text", "EXAMINE", bytes(range(128, 256)) * 40 + b"\r\n"),
    ("nothing at all", "EXAMINE", b""),
    ("goodbye", "EXAMINE", b"* BYE \x1b[2J[UNAVAILABLE] too busy\r\n"),
]


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(("command", "answer"), [row[1:] for row in NONSENSE], ids=[row[0] for row in NONSENSE])
async def test_nonsense_is_a_temporary_failure_with_a_sentence(
    server: FakeImap, reader: Reader, command: str, answer: bytes
) -> None:
    server.answers[command] = lambda asked: answer
    tracemalloc.start()
    try:
        with pytest.raises(TemporaryError) as failed:
            await reader.poll()
            pytest.fail(f"taken for an answer: {reader.cursor}")
        assert tracemalloc.get_traced_memory()[1] < MEMORY
    finally:
        tracemalloc.stop()
    assert USER in str(failed.value)
    assert str(failed.value).isprintable()
    assert len(str(failed.value)) < 500
    server.answers.clear()
    assert await reader.poll() == ["1", "2", "3", "4", "5"]


async def test_uids_that_cannot_be_are_not_asked_for(server: FakeImap, reader: Reader) -> None:
    server.answers["SEARCH"] = lambda asked: b"* SEARCH 5 5 0 99999999999 3 4294967295\r\nTAG OK done\r\n"
    assert await reader.poll() == ["3", "5"]
    assert not server.asked("99999999999")


@pytest.mark.parametrize("greeting", [b"", b"* BYE go away\r\n", b"220 mail.example.com ESMTP\r\n", b"x" * 2_000_000])
@pytest.mark.usefixtures("impatient")
async def test_a_greeting_that_is_none(server: FakeImap, reader: Reader, greeting: bytes) -> None:
    server.greeting = greeting
    with pytest.raises(TemporaryError):
        await reader.poll()
    assert not server.asked("LOGIN")


async def test_one_octet_at_a_time_ends_at_the_deadline(
    server: FakeImap, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.inbox.mails[2].fault = "drip"
    grant = imap_wire.Allowance.grant
    monkeypatch.setattr(imap_wire.Allowance, "grant", lambda self, seconds, **most: grant(self, seconds / 20, **most))
    assert await reader.poll() == ["1", "2", "4", "5"]
    assert [hole[0] for hole in state_of(reader)["holes"]] == [3]


# --- logging in --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("refusal", "error"),
    [
        (f"NO [AUTHENTICATIONFAILED] {PASSWORD} is wrong", PermanentError),
        ("NO LOGIN failed.", PermanentError),
        ("NO [UNAVAILABLE] the directory is away", TemporaryError),
        ("BAD too many of you", PermanentError),
    ],
)
async def test_a_refused_login_says_why_and_no_secret(
    server: FakeImap, reader: Reader, refusal: str, error: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    server.login = refusal
    with caplog.at_level(logging.DEBUG), pytest.raises(error) as refused:
        await reader.poll()
    assert USER in str(refused.value)
    assert PASSWORD not in str(refused.value) + caplog.text


async def test_letters_a_server_cannot_take_in_a_password_are_said_to_be_that(server: FakeImap) -> None:
    async with reading(options_for(server, password="grün")) as reader:
        with pytest.raises(PermanentError, match="only ASCII"):
            await reader.poll()
    assert not server.logins


async def test_a_password_with_quotes_and_letters_of_all_kinds_is_one_argument(server: FakeImap) -> None:
    async with reading(options_for(server, user='d"e sk', password='a"b\\c d')) as reader:
        assert len(await reader.poll()) == 5
    assert server.asked("LOGIN") == [r'LOGIN "d\"e sk" "a\"b\\c d"']


async def test_a_token_command_that_fails_is_temporary_and_silent_about_its_output(server: FakeImap) -> None:
    options = options_for(server) | {"token_command": "sh -c 'echo secret; exit 3'"}
    del options["password"]
    async with reading(options) as reader:
        with pytest.raises(TemporaryError, match="exit code 3") as failed:
            await reader.poll()
    assert "secret" not in str(failed.value)


async def test_a_token_quoted_back_by_the_server_is_not_told(server: FakeImap) -> None:
    options = options_for(server) | {"token_command": "echo ya29.very-secret"}
    del options["password"]
    server.answers["AUTHENTICATE"] = lambda asked: b"TAG NO [AUTHENTICATIONFAILED] ya29.very-secret expired\r\n"
    async with reading(options) as reader:
        with pytest.raises(PermanentError, match="expired") as failed:
            await reader.poll()
    assert "ya29" not in str(failed.value)


# --- waiting -----------------------------------------------------------------------------------------------------


async def test_news_end_the_wait_and_mail_that_came_before_it_too(server: FakeImap, reader: Reader) -> None:
    await reader.poll()
    assert reader.adapter is not None
    waiting = asyncio.create_task(reader.adapter.idle(3_600))
    await asyncio.wait_for(server.idling.wait(), 10)
    server.inbox.mails.append(Mail(6, mail(6)))
    server.news.set()
    await asyncio.wait_for(waiting, 10)
    assert await reader.poll() == ["6"]
    server.inbox.mails.append(Mail(7, mail(7)))
    await asyncio.wait_for(reader.adapter.idle(3_600), 10)
    assert await reader.poll() == ["7"]
    assert server.logins == 1


@pytest.mark.parametrize("idle", ["bye", "cut"])
async def test_a_server_that_hangs_up_while_we_wait_is_asked_again_at_once_but_not_for_ever(
    server: FakeImap, reader: Reader, monkeypatch: pytest.MonkeyPatch, idle: str
) -> None:
    await reader.poll()
    assert reader.adapter is not None
    server.idle = idle
    pauses = []

    async def note(seconds: float) -> None:
        pauses.append(seconds)

    for _ in range(8):
        with monkeypatch.context() as patch:
            patch.setattr(asyncio, "sleep", note)
            await reader.adapter.idle(3_600)
        assert await reader.poll() == []
    assert pauses == [0, 1, 2, 4, 8, 16, 30, 30], "each time for nothing makes it wait longer"
    assert server.logins == 9


async def test_a_server_without_idle_is_waited_for_the_whole_time(server: FakeImap, reader: Reader) -> None:
    server.capabilities = "IMAP4rev1"
    await reader.poll()
    assert reader.adapter is not None
    await reader.adapter.idle(0.05)
    assert not server.asked("IDLE")


async def test_idle_is_renewed(server: FakeImap, reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.email.imap._IDLE_SECONDS", 0.1)
    await reader.poll()
    assert reader.adapter is not None
    await reader.adapter.idle(0.35)
    assert len(server.asked("IDLE")) >= 3
    assert server.logins == 1


@pytest.mark.parametrize("waits_for", ["mail", "an answer"])
async def test_stopping_does_not_wait_for_the_server(server: FakeImap, reader: Reader, waits_for: str) -> None:
    if waits_for == "mail":
        await reader.poll()
        assert reader.adapter is not None
        waiting = asyncio.create_task(reader.adapter.idle(3_600))
        await asyncio.wait_for(server.idling.wait(), 10)
    else:
        server.answers["SEARCH"] = lambda asked: b""
        waiting = asyncio.create_task(reader.poll())  # type: ignore[arg-type]
        await until(lambda: bool(server.asked("SEARCH")))
    waiting.cancel()
    async with asyncio.timeout(5):
        await asyncio.gather(waiting, return_exceptions=True)
        await reader.forget()
        await until(lambda: not server.open)
