"""The door in: durable before it says so, truthful when it cannot be, and nothing lost to a bug in a reader."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import pytest

from adapters.base import Adapter, InboxOptions, Raw, Refused, ignored
from gateway import intake as module
from gateway.intake import Inbox, Intake, NotDurableError
from gateway.queues.base import Outgoing, QueueUnavailableError
from gateway.queues.embedded import EmbeddedQueue
from gateway.store.blobs import Blobs
from gateway.tally import Life
from normalizer.fingerprint import delivery_key
from normalizer.message import Attachment, Author, Draft, Message, MessageDraft, Tally, Update, parse_wire


def draft(raw: Raw, **changes: Any) -> MessageDraft:
    text = raw.body[:100].decode("utf-8", "replace")
    return MessageDraft(
        author=Author(kind="email", value="ann@example.test"),
        text=text,
        delivery_key=delivery_key("email", text),
        **changes,
    )


class Scripted(Adapter[InboxOptions]):
    """Reads what its name says: an adapter with every behaviour a door must stand."""

    channel: ClassVar[str] = "email"

    def authenticate(self, raw: Raw) -> None:
        if raw.body == b"forged":
            raise Refused(403, "the signature does not match")

    def normalize(self, raw: Raw) -> Sequence[Draft]:
        match raw.body:
            case b"not ours":
                raise Refused(400, "this is not a delivery of ours")
            case b"bug":
                raise RecursionError("maximum recursion depth exceeded")
            case b"three facts":
                return [draft(Raw(b"one")), draft(Raw(b"two")), ignored("echo", "our own post")]
            case b"nothing":
                return []
            case b"files":
                data = [b"s" * 100, b"L" * 40_000, *(bytes([n]) * 20_000 for n in range(8))]
                files = [Attachment(size=len(d), sha256=hashlib.sha256(d).hexdigest(), content=d) for d in data]
                return [draft(raw, attachments=tuple(files))]
            case _:
                return [draft(raw)]


class Broken:
    """A queue that takes nothing."""

    async def publish(self, messages: Sequence[Outgoing]) -> None:
        raise QueueUnavailableError("no disk, no broker")


INBOX = Inbox("support", "email", Scripted("support", InboxOptions(channel="email")), InboxOptions(channel="email"))


@pytest.fixture
async def queue(tmp_path: Path) -> AsyncIterator[EmbeddedQueue]:
    queue = EmbeddedQueue(tmp_path / "queue.db")
    await queue.start()
    yield queue
    await queue.close()


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path / "blobs")


@pytest.fixture
def intake(queue: EmbeddedQueue, blobs: Blobs) -> Intake:
    return Intake(queue, blobs, "life-1")


async def queued(queue: EmbeddedQueue) -> list[Message | Update | Tally]:
    return [parse_wire(item.type, item.body) for item in await queue.consume(100)]


async def test_a_receipt_is_given_once_the_message_is_in_the_queue(intake: Intake, queue: EmbeddedQueue) -> None:
    [receipt] = await intake.accept(INBOX, Raw(b"hello", "message/rfc822"))
    [message] = await queued(queue)
    assert isinstance(message, Message)
    assert message.receipt_id == receipt.receipt_id
    assert (message.gateway, message.sequence, message.inbox, message.channel) == ("life-1", 1, "support", "email")
    assert message.original is not None
    assert (message.original.content, message.original.content_type) == (b"hello", "message/rfc822")
    assert abs((datetime.now(UTC) - message.received_at).total_seconds()) < 60


@pytest.mark.parametrize(("body", "status"), [(b"forged", 403), (b"not ours", 400)])
async def test_what_is_refused_leaves_no_trace(intake: Intake, queue: EmbeddedQueue, body: bytes, status: int) -> None:
    with pytest.raises(Refused) as refused:
        await intake.accept(INBOX, Raw(body))
    assert refused.value.status == status
    assert (await queue.depth()).waiting == 0
    assert not intake.life.changed()


async def test_a_bug_in_a_reader_suspends_the_arrival_with_every_byte(intake: Intake, queue: EmbeddedQueue) -> None:
    await intake.accept(INBOX, Raw(b"bug"))
    [message] = await queued(queue)
    assert isinstance(message, Message)
    assert message.suspend.startswith("could not be read: RecursionError")
    assert message.original is not None
    assert message.original.content == b"bug"


async def test_one_arrival_may_carry_several_facts_or_none(intake: Intake, queue: EmbeddedQueue) -> None:
    receipts = await intake.accept(INBOX, Raw(b"three facts"))
    assert [receipt.kind for receipt in receipts] == ["message", "message", "update"]
    assert [message.sequence for message in await queued(queue) if not isinstance(message, Tally)] == [1, 2, 3]
    assert await intake.accept(INBOX, Raw(b"nothing")) == []


async def test_large_bodies_travel_by_reference_and_small_ones_inside(
    intake: Intake, queue: EmbeddedQueue, blobs: Blobs
) -> None:
    await intake.accept(INBOX, Raw(b"files"))
    [message] = await queued(queue)
    assert isinstance(message, Message)
    small, large, *many = message.attachments
    assert small.content == b"s" * 100
    assert large.content is None
    assert large.blob == large.sha256
    assert await blobs.get(large.sha256) == b"L" * 40_000
    assert 0 < sum(1 for file in many if file.blob) < len(many), "past the total limit the rest goes by reference"
    assert sum(len(file.content or b"") for file in message.attachments) <= 128 * 1024


async def test_a_large_arrival_is_kept_whole(intake: Intake, queue: EmbeddedQueue, blobs: Blobs) -> None:
    body = b"From: a@b\n\n" + b"x" * 100_000
    await intake.accept(INBOX, Raw(body))
    [message] = await queued(queue)
    assert isinstance(message, Message)
    assert message.original is not None
    assert await blobs.get(message.original.blob or "") == body


async def test_when_nothing_is_durable_the_sender_hears_not_now(blobs: Blobs) -> None:
    intake = Intake(Broken(), blobs, "life-1")  # type: ignore[arg-type]
    for _ in range(3):
        with pytest.raises(NotDurableError) as error:
            await intake.accept(INBOX, Raw(b"hello"))
        assert error.value.retry_after > 0
    tally = intake.life.report(datetime.now(UTC))
    assert (tally.accepted, tally.settled, tally.given_up) == (0, 3, ((1, 3),))


async def test_a_blob_directory_that_cannot_be_written_refuses_for_now(queue: EmbeddedQueue, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    intake = Intake(queue, Blobs(tmp_path / "file"), "life-1")
    with pytest.raises(NotDurableError):
        await intake.accept(INBOX, Raw(b"x" * 100_000))
    assert (await queue.depth()).waiting == 0


async def test_the_tally_is_published_while_it_changes_and_at_the_end(intake: Intake, queue: EmbeddedQueue) -> None:
    await intake.accept(INBOX, Raw(b"hello"))
    stop = asyncio.Event()
    stop.set()
    await intake.report(stop)
    tallies = [item for item in await queued(queue) if isinstance(item, Tally)]
    assert [(tally.accepted, tally.settled, tally.ended) for tally in tallies] == [(1, 1, True)]


async def test_a_tally_that_reached_nobody_is_published_again(
    blobs: Blobs, queue: EmbeddedQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a gateway killed now would have acknowledged what no audit asks for."""
    monkeypatch.setattr(module, "_TALLY_SECONDS", 0.01)
    intake = Intake(queue, blobs, "life-1")
    await intake.accept(INBOX, Raw(b"hello"))
    publish, refused = queue.publish, 2

    async def refuse(messages: Sequence[Outgoing]) -> None:
        nonlocal refused
        if refused:
            refused -= 1
            raise QueueUnavailableError("disk full for a moment")
        await publish(messages)

    monkeypatch.setattr(queue, "publish", refuse)
    reporting = asyncio.create_task(intake.report(asyncio.Event()))
    items: list[Any] = []
    async with asyncio.timeout(20):
        while not any(isinstance(item, Tally) for item in items):
            items += await queued(queue)
            await asyncio.sleep(0.01)
    reporting.cancel()
    await asyncio.gather(reporting, return_exceptions=True)
    assert [item.settled for item in items if isinstance(item, Tally)][:1] == [1]


SETTLING = [
    ("in order", "a1 a2 a3", (3, 3, ())),
    ("out of order waits for the gap", "a2 a3", (2, 0, ())),
    ("a gap that closes", "a2 a3 a1", (3, 3, ())),
    ("given up in a row is one range", "g1 g2 a3 g4", (1, 4, ((1, 2), (4, 4)))),
    ("given up late", "a1 a3 g2", (2, 3, ((2, 2),))),
]


@pytest.mark.parametrize(("steps", "expected"), [row[1:] for row in SETTLING], ids=[row[0] for row in SETTLING])
def test_what_a_life_has_promised(steps: str, expected: tuple[int, int, Any]) -> None:
    life = Life("life-1", datetime.now(UTC))
    for step in steps.split():
        (life.acknowledge if step[0] == "a" else life.give_up)(int(step[1:]))
    tally = life.report(datetime.now(UTC))
    assert (tally.accepted, tally.settled, tally.given_up) == expected
