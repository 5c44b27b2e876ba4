"""A queue file that was damaged or whose log was taken away: nothing readable is lost, and nothing is deleted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.queues.base import Outgoing, QueueUnavailableError
from gateway.queues.embedded import EmbeddedQueue

_COUNT = 60


def _message(number: int) -> Outgoing:
    return Outgoing(b"%05d" % number + b"x" * 3000, "frontdesk.message.v1", f"receipt-{number}", "email", "support")


async def _fill(path: Path) -> None:
    queue = EmbeddedQueue(path)
    await queue.start()
    await queue.publish([_message(number) for number in range(_COUNT)])
    await queue.close()


async def _read(queue: EmbeddedQueue) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    while (await queue.depth()).ready:
        batch = await queue.consume(100)
        found |= {delivery.receipt_id: delivery.body for delivery in batch}
        await queue.ack(batch)
    return found


def _zero_header(content: bytearray) -> None:
    content[:4096] = bytes(4096)


def _scribble(content: bytearray) -> None:
    middle = len(content) // 2 // 4096 * 4096
    content[middle : middle + 3 * 4096] = b"\xa5" * 3 * 4096


def _truncate(content: bytearray) -> None:
    del content[len(content) * 2 // 3 // 4096 * 4096 :]


@pytest.mark.parametrize(
    ("damage", "at_least"),
    [(_zero_header, 0), (_scribble, _COUNT // 2), (_truncate, _COUNT // 3)],
)
async def test_a_damaged_file_is_set_aside_and_read_back(
    damage: Callable[[bytearray], None], at_least: int, tmp_path: Path
) -> None:
    path = tmp_path / "queue.db"
    await _fill(path)
    content = bytearray(path.read_bytes())
    damage(content)
    path.write_bytes(content)

    queue = EmbeddedQueue(path)
    await queue.start()
    await queue.publish([_message(1000)])
    found = await _read(queue)
    await queue.close()

    assert found.pop("receipt-1000") == _message(1000).body
    assert len(found) >= at_least
    assert all(body == _message(int(name.removeprefix("receipt-"))).body for name, body in found.items())
    aside = (tmp_path / "corrupt" / "1" / "queue.db").read_bytes()
    assert len(aside) == len(content)


async def test_damage_while_the_file_is_in_use(tmp_path: Path) -> None:
    """The next operation that meets it fails, for its caller to try again, and the one after has a new file."""
    path = tmp_path / "queue.db"
    await _fill(path)
    queue = EmbeddedQueue(path)
    await queue.start()
    with path.open("r+b") as file:
        file.seek(100)  # behind the header: the page that says which tables there are
        file.write(b"\xff" * (path.stat().st_size - 100))
    for _ in range(5):
        try:
            await queue.publish([_message(1000)])
            break
        except QueueUnavailableError:
            continue
    assert "receipt-1000" in await _read(queue)
    await queue.close()
    assert (tmp_path / "corrupt" / "1" / "queue.db").exists()


async def test_a_log_that_was_deleted_in_use_loses_nothing(tmp_path: Path) -> None:
    """What only the log held is in the file before the next message is confirmed, so a kill afterwards is harmless."""
    path = tmp_path / "queue.db"
    queue = EmbeddedQueue(path)
    await queue.start()
    await queue.publish([_message(number) for number in range(_COUNT)])
    (tmp_path / "queue.db-wal").unlink()
    await queue.publish([_message(1000)])

    another = EmbeddedQueue(path)  # as the next life would find it
    await another.start()
    assert (await another.depth()).ready == {"email": _COUNT + 1}
    await another.close()
    assert len(await _read(queue)) == _COUNT + 1
    await queue.close()
