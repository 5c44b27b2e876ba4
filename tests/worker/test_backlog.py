"""Behind a full batch the next is fetched and read while the database is at work; told to stop, both are finished."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from gateway.queues.base import Outgoing
from gateway.queues.embedded import EmbeddedQueue
from gateway.store import tables as t
from gateway.store.engine import SqliteStore, open_store
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

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def write(self, fn: Callable[..., Any], *args: Any) -> Any:
        if fn is record:
            self.asked.set()
            await self.let.wait()
        return await self._store.write(fn, *args)


async def test_the_next_batch_is_fetched_while_one_is_recorded(tmp_path: Path) -> None:
    opened = open_store(f"sqlite:///{tmp_path / 'store.db'}")
    assert isinstance(opened, SqliteStore)
    store = Busy(opened)
    await store.write(migrate)
    queue = EmbeddedQueue(tmp_path / "queue.db", min_free_bytes=0)
    await queue.start()
    for number in range(5):
        message = mail(f"{number}@x", "alice")
        body = message.model_dump_json().encode()
        await queue.publish([Outgoing(body, MESSAGE_TYPE, str(message.receipt_id), "email", "support")])

    stop = asyncio.Event()
    working = asyncio.create_task(Worker(queue, store, batch_size=2).run(stop))
    async with asyncio.timeout(20):
        await store.asked.wait()
        await until_depth(queue, lambda depth: depth.unacked == 4)
        stop.set()
        store.let.set()
        await working
    assert await store.read(lambda conn: conn.scalar(select(func.count()).select_from(t.receipts))) == 4
    assert sum((await queue.depth()).ready.values()) == 1
    await queue.close()
    await store.close()
