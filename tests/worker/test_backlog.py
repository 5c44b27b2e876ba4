"""Behind a full batch the next is fetched and read while the database is at work; told to stop, both are finished."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from gateway.queues.base import Outgoing
from gateway.queues.embedded import EmbeddedQueue
from gateway.store import tables as t
from gateway.store.engine import SqliteStore, StoreUnavailableError, open_store
from gateway.store.migrate import migrate
from gateway.store.record import record
from gateway.worker.consume import Worker
from normalizer.message import MESSAGE_TYPE
from tests.contract.backends import until_depth
from tests.worker.conversations import mail


class Busy:
    """A store that records when it is let."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store
        self.asked = asyncio.Event()
        self.let = asyncio.Event()
        self.asks = 0
        self.error: Exception | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def write(self, fn: Callable[..., Any], *args: Any) -> Any:
        if fn is record:
            self.asks += 1
            self.asked.set()
            await self.let.wait()
            if self.error is not None:
                raise self.error
        return await self._store.write(fn, *args)


@dataclass
class Hall:
    """A worker whose store is busy, and the queue it consumes."""

    queue: EmbeddedQueue
    store: Busy

    async def publish(self, *channels: str) -> None:
        for number, channel in enumerate(channels):
            message = mail(f"{number}@x", "alice").model_copy(update={"channel": channel})
            body = message.model_dump_json().encode()
            await self.queue.publish([Outgoing(body, MESSAGE_TYPE, str(message.receipt_id), channel, "support")])

    async def count_recorded(self) -> int | None:
        return await self.store.read(lambda conn: conn.scalar(select(func.count()).select_from(t.receipts)))


@pytest.fixture
async def hall(tmp_path: Path) -> AsyncIterator[Hall]:
    opened = open_store(f"sqlite:///{tmp_path / 'store.db'}")
    assert isinstance(opened, SqliteStore)
    await opened.write(migrate)
    queue = EmbeddedQueue(tmp_path / "queue.db", min_free_bytes=0)
    await queue.start()
    yield Hall(queue, Busy(opened))
    await queue.close()
    await opened.close()


@asynccontextmanager
async def recording(hall: Hall, batch_size: int) -> AsyncIterator[None]:
    """While the worker waits for its busy store; afterwards it is told to stop, and the store answers."""
    stop = asyncio.Event()
    working = asyncio.create_task(Worker(hall.queue, hall.store, batch_size=batch_size).run(stop))
    async with asyncio.timeout(20):
        await hall.store.asked.wait()
        yield
        stop.set()
        hall.store.let.set()
        await working


async def test_the_next_batch_is_fetched_while_one_is_recorded(hall: Hall) -> None:
    await hall.publish(*["email"] * 5)
    async with recording(hall, 2):
        await until_depth(hall.queue, lambda depth: depth.unacked == 4)
    assert await hall.count_recorded() == 4
    assert sum((await hall.queue.depth()).ready.values()) == 1


async def test_not_when_a_flood_begins(hall: Hall) -> None:
    await hall.publish("form", *["email"] * 19)
    async with recording(hall, 10):
        for _ in range(20):  # each a turn of the queue's thread, which does things in the order they are asked
            depth = await hall.queue.depth()
    assert depth.unacked == 10


async def test_a_store_that_stays_away_is_not_waited_for_twice(hall: Hall) -> None:
    """Told to stop while the store is away, the worker leaves what it fetched ahead to the queue."""
    await hall.publish(*["email"] * 4)
    hall.store.error = StoreUnavailableError("away")
    async with recording(hall, 2):
        await until_depth(hall.queue, lambda depth: depth.unacked == 4)
    assert hall.store.asks == 1
    assert await hall.count_recorded() == 0
