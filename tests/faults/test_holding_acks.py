"""What is recorded is acknowledged in the end, also when the queue's disk was full at first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from gateway.queues.base import Delivered, Outgoing, QueueUnavailableError
from gateway.queues.embedded import EmbeddedQueue
from gateway.store.engine import Store, open_store
from gateway.store.migrate import migrate
from gateway.worker.consume import Worker

pytestmark = pytest.mark.fault


class FullDisk(EmbeddedQueue):
    """A queue file that cannot even delete, twice."""

    refusals = 2

    async def ack(self, deliveries: Sequence[Delivered]) -> None:
        if self.refusals:
            self.refusals -= 1
            raise QueueUnavailableError("queue file: database or disk is full")
        await super().ack(deliveries)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = open_store(f"sqlite:///{tmp_path / 'store.db'}")
    await store.write(migrate)
    yield store
    await store.close()


async def test_a_full_disk_ends_no_worker(store: Store, tmp_path: Path) -> None:
    """The worker lives, tries again, and nothing is left in the queue; claims of a living owner never expire."""
    queue = FullDisk(tmp_path / "queue.db", min_free_bytes=0)
    await queue.start()
    stop = asyncio.Event()
    working = asyncio.create_task(Worker(queue, store).run(stop))
    await queue.publish([Outgoing(b"{}", "frontdesk.message.v1", "r1", "form", "contact")])
    async with asyncio.timeout(30):
        while (await queue.depth()).waiting or queue.refusals:
            assert not working.done(), "the worker died of a full disk"
            await asyncio.sleep(0.02)
    stop.set()
    await working
    await queue.close()
