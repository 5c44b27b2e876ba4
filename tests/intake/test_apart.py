"""Reading apart: the same result as reading here, and whatever an arrival does to the child, only it suffers."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.base import InboxOptions, Raw, Refused
from adapters.email import Email, EmailOptions
from gateway.apart import MOST, Apart, DiedError, FailedError, TookTooLongError, Unavailable
from gateway.bench import hostile
from gateway.intake import Inbox, Intake
from gateway.queues.embedded import EmbeddedQueue
from gateway.sealed import unseal
from gateway.store.blobs import Blobs
from normalizer.message import Message, MessageDraft, parse_wire
from tests.intake.odd import Odd

ROOT = Path(__file__).parents[2]
PROGRAM = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from gateway.apart import serve; serve()"
FACTS = {"mail_from": "anna@customer.example", "rcpt_tos": ["support@localhost"]}


@pytest.fixture
def apart() -> Iterator[Apart]:
    """A child that finds the adapters of these tests, and is not patient."""
    child = Apart(deadline=2.0, program=PROGRAM)
    yield child
    child.close()


def odd() -> Odd:
    return Odd("odd", InboxOptions(channel="odd"))


def pid_of(child: Apart) -> int:
    """The process that reads."""
    (draft,) = child.read(odd(), Raw(b"read"))
    assert isinstance(draft, MessageDraft)
    return int(draft.text)


def test_the_hostile_mails_mean_the_same_as_here() -> None:
    email = Email("support", EmailOptions(reply_keys={"1": "secret"}))
    child = Apart()
    try:
        for name, body in hostile.mails().items():
            raw = Raw(body, "message/rfc822", FACTS)
            assert [unseal(draft) for draft in child.read(email, raw)] == list(email.normalize(raw)), name
    finally:
        child.close()


def test_one_process_reads_arrival_after_arrival(apart: Apart) -> None:
    first = pid_of(apart)
    assert first != os.getpid()
    assert pid_of(apart) == first


def test_what_arrived_comes_back_with_what_it_means(apart: Apart) -> None:
    (draft,) = apart.read(odd(), Raw(b"read this"))
    assert draft.original is not None
    assert draft.original.content == b"read this"


def test_a_refusal_is_a_refusal(apart: Apart) -> None:
    with pytest.raises(Refused) as refused:
        apart.read(odd(), Raw(b"refuse"))
    assert (refused.value.status, str(refused.value)) == (413, "too large")
    assert refused.value.headers == {"X-Why": "size"}


@pytest.mark.parametrize(
    ("body", "error", "sentence"),
    [
        (b"hang", TookTooLongError, "longer than 2 s"),
        (b"die", DiedError, "so did another"),
        (b"eat", FailedError, "MemoryError"),
        (b"raise", FailedError, "KeyError: 'nothing'"),
    ],
)
def test_only_the_arrival_that_does_it_suffers(
    apart: Apart, body: bytes, error: type[Exception], sentence: str
) -> None:
    pid_of(apart)
    with pytest.raises(error, match=sentence):
        apart.read(odd(), Raw(body))
    assert pid_of(apart)


def test_a_child_that_has_gone_is_replaced(apart: Apart) -> None:
    first = pid_of(apart)
    os.kill(first, signal.SIGKILL)
    assert pid_of(apart) != first


@pytest.mark.parametrize("program", ["raise SystemExit(3)", "import nothing_of_that_name", "pass"])
def test_where_no_child_starts_no_arrival_suffers(program: str, capfd: pytest.CaptureFixture[str]) -> None:
    child = Apart(program=program)
    for _ in range(2):
        with pytest.raises(Unavailable):
            child.read(odd(), Raw(b"read"))
    assert "SystemExit" not in capfd.readouterr().err


def test_a_start_that_failed_is_tried_again_after_a_pause(tmp_path: Path) -> None:
    now, hindrance = [0.0], tmp_path / "full"
    hindrance.touch()
    program = f"import os; assert not os.path.exists({str(hindrance)!r}); {PROGRAM}"
    child = Apart(program=program, clock=lambda: now[0])
    with pytest.raises(Unavailable):
        child.read(odd(), Raw(b"read"))
    hindrance.unlink()
    with pytest.raises(Unavailable):
        child.read(odd(), Raw(b"read"))
    now[0] = 60.0
    assert pid_of(child)
    child.close()


def test_what_cannot_be_handed_over_is_read_here(apart: Apart) -> None:
    class Local(Odd):
        """Nobody else can import it."""

    with pytest.raises(Unavailable):
        apart.read(Local("local", InboxOptions(channel="odd")), Raw(b"read"))
    with pytest.raises(Unavailable):
        apart.read(odd(), Raw(b"read", facts={"how": lambda: None}))
    with pytest.raises(Unavailable):
        apart.read(odd(), Raw(b"read " * (MOST // 4)))
    assert pid_of(apart)


def test_the_child_ends_with_us(apart: Apart) -> None:
    child = pid_of(apart)
    apart.close()
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


async def test_who_stops_does_not_wait_for_what_is_being_read() -> None:
    child = Apart(deadline=600.0, program=PROGRAM)
    pid_of(child)
    reading = asyncio.create_task(asyncio.to_thread(child.read, odd(), Raw(b"hang")))
    await asyncio.sleep(0)
    await asyncio.to_thread(child.close)
    with pytest.raises(DiedError):
        await reading


async def test_the_door_keeps_what_ended_its_reader_and_takes_the_next(tmp_path: Path, apart: Apart) -> None:
    """F43: only the child dies; the mail is held with every byte, for a person and for `frontdesk replay`."""
    queue, inbox = EmbeddedQueue(tmp_path / "queue.db"), Inbox("odd", "odd", odd(), InboxOptions(channel="odd"))
    await queue.start()
    intake = Intake(queue, Blobs(tmp_path / "blobs"), "life-1")
    intake.apart = apart
    try:
        for word in (b"read", b"hang", b"die", b"read"):
            await intake.accept(inbox, Raw(word + b" " * 30_000))
        found = [parse_wire(item.type, item.body) for item in await queue.consume(10)]
    finally:
        intake.close()
        await queue.close()
    causes = [message.suspend for message in found if isinstance(message, Message)]
    assert causes[1].startswith("could not be read: TookTooLongError: reading it took longer than")
    assert causes[2].startswith("could not be read: DiedError: the process that read it ended")
    assert causes[0] == causes[3] == ""
    assert all(isinstance(message, Message) and message.original for message in found)
