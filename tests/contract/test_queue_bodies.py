"""Large bodies of the embedded queue: beside its file, as long as somebody needs them, and no longer."""

from __future__ import annotations

import asyncio
import os
import resource
import time
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.queues.base import MOST_BYTES, Outgoing, QueueUnavailableError
from gateway.queues.bodies import LARGE, is_mark
from gateway.queues.embedded import EmbeddedQueue
from gateway.settings import Settings
from gateway.store.backup import back_up
from normalizer.message import parse_wire
from tests.contract.backends import make_message, take, take_dead

_BODY = b'{"text": "' + b"x" * LARGE + b'"}'


def _large(number: int) -> Outgoing:
    return replace(make_message(number), body=_BODY)


async def test_a_large_body_lies_beside_the_file(queue: EmbeddedQueue, path: Path) -> None:
    """It is there until its message is acked, by whoever that is, and no longer."""
    folder = path.with_name("queue.db.bodies")
    await queue.publish([make_message(0), _large(1), _large(2)])
    assert len(list(folder.iterdir())) == 2
    other = EmbeddedQueue(path)
    await other.start()
    try:
        first = await take(other, 3)
        assert sorted(len(delivery.body) for delivery in first)[1:] == [len(_BODY)] * 2
        await other.release(first)
    finally:
        await other.close()
    again = await take(queue, 3)
    assert [delivery.body for delivery in again].count(_BODY) == 2
    await queue.ack([delivery for delivery in again if delivery.body == _BODY][:1])
    assert len(list(folder.iterdir())) == 1
    await queue.ack(again)
    assert list(folder.iterdir()) == []


async def test_dead_letters_with_large_bodies_come_in_parts(path: Path) -> None:
    queue = EmbeddedQueue(path, delivery_limit=0)
    await queue.start()
    try:
        for number in range(3):
            await queue.publish([make_message(number, body=bytes(MOST_BYTES // 2))])
            await queue.release(await take(queue, 1))
        first = await queue.consume_dead(100)
        assert [letter.receipt_id for letter in first] == ["receipt-email-0", "receipt-email-1"]
        assert (await queue.depth()).dead == 3
        await queue.ack(first)
        assert [letter.receipt_id for letter in await queue.consume_dead(100)] == ["receipt-email-2"]
    finally:
        await queue.close()


async def test_a_dead_letter_has_its_large_body(path: Path) -> None:
    queue = EmbeddedQueue(path, delivery_limit=0)
    await queue.start()
    try:
        await queue.publish([_large(1)])
        await queue.release(await take(queue, 1))
        (letter,) = await take_dead(queue)
        assert letter.body == _BODY
        await queue.publish([_large(1)])  # replayed, then given up as a letter
        await queue.ack([letter])
        (again,) = await take(queue, 1)
        assert again.body == _BODY
    finally:
        await queue.close()


async def test_a_large_body_that_is_gone_is_no_message(queue: EmbeddedQueue, path: Path) -> None:
    """The worker buries it with that reason; nothing waits behind it."""
    await queue.publish([_large(1), make_message(2)])
    for body in path.with_name("queue.db.bodies").iterdir():
        body.unlink()
    found = {delivery.receipt_id: delivery for delivery in await take(queue, 2)}
    with pytest.raises(ValueError, match="JSON"):
        parse_wire("frontdesk.message.v1", found[_large(1).receipt_id].body)
    await queue.ack(list(found.values()))
    assert (await queue.depth()).waiting == 0


async def test_a_body_that_cannot_be_read_keeps_nobody_waiting(
    queue: EmbeddedQueue, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A disk error on one file: that message is dead, is named, and is a message again once its file can be read."""
    await queue.publish([_large(1), make_message(2)])
    (body,) = path.with_name("queue.db.bodies").iterdir()
    held = body.rename(path.with_name("held"))
    body.mkdir()
    found = {delivery.receipt_id: delivery for delivery in await take(queue, 2)}
    letter = found[_large(1).receipt_id]
    assert is_mark(letter.body)
    assert f"{body} cannot be read: Is a directory" in caplog.text
    await queue.ack(list(found.values()))
    body.with_name(f"{body.name}.unread").rmdir()
    held.rename(body)
    await queue.publish([replace(_large(1), body=letter.body)])  # as dead letters are replayed
    assert [delivery.body for delivery in await take(queue, 1)] == [_BODY]


async def test_a_process_that_can_open_nothing_reads_its_bodies_later(queue: EmbeddedQueue) -> None:
    await queue.publish([_large(1)])
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        with pytest.raises(QueueUnavailableError, match="Too many open files"):
            await queue.consume(1)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    (found,) = await take(queue, 1)
    assert (found.body, found.attempts) == (_BODY, 0)


async def test_no_room_for_a_large_body(queue: EmbeddedQueue, full_disk: None) -> None:
    """Refused, and not half kept; what is small still comes in."""
    huge = replace(make_message(1), body=b'"' + b"x" * 400_000 + b'"')
    with pytest.raises(QueueUnavailableError, match="large bodies"):
        await queue.publish([huge])
    assert list(queue.path.with_name("queue.db.bodies").iterdir()) == []
    await queue.publish([make_message(2)])
    assert (await queue.depth()).waiting == 1


async def test_bodies_nobody_needs_are_swept_after_a_week(path: Path) -> None:
    queue = EmbeddedQueue(path)
    await queue.start()
    await queue.publish([_large(1)])
    await queue.close()
    folder = path.with_name("queue.db.bodies")
    (needed,) = folder.iterdir()
    (folder / "old").write_bytes(b"left by a crash")
    (folder / "damaged.unread").write_bytes(b"somebody may mend it")
    (folder / "new").write_bytes(b"its row is about to be written")
    for aged in (needed, folder / "old", folder / "damaged.unread"):
        os.utime(aged, (time.time() - 8 * 86_400,) * 2)
    again = EmbeddedQueue(path)
    await again.start()
    try:
        assert {body.name for body in folder.iterdir()} == {needed.name, "new", "damaged.unread"}
    finally:
        await again.close()


async def test_a_backup_has_the_large_bodies(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data")
    queue = EmbeddedQueue(settings.data_dir / "queue.db")
    await queue.start()
    await queue.publish([_large(1)])
    await asyncio.to_thread(back_up, settings, tmp_path / "copy")
    await queue.ack(await take(queue, 1))
    await queue.close()
    copy = EmbeddedQueue(tmp_path / "copy" / "queue.db")
    await copy.start()
    try:
        assert [delivery.body for delivery in await take(copy, 1)] == [_BODY]
    finally:
        await copy.close()
