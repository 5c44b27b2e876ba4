"""The month through everything that is real: two doors, RabbitMQ, two worker processes, PostgreSQL; one of them dies.

What customers send is read by the adapters and accepted by two gateways' doors at its simulated time, so that windows
of minutes and days mean what they say. It is queued out of order, as several gateways queue it. A worker is killed on
the way: what it had not acknowledged comes again.

`FRONTDESK_TEST_MONTH=25000 make test ARGS=tests/simulation` takes the whole month.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextvars import ContextVar
from datetime import datetime
from pathlib import Path
from typing import cast
from uuid import uuid4

import pytest
from sqlalchemy import func, select

from adapters.base import Adapter, InboxOptions
from gateway.intake import Inbox, Intake
from gateway.queues.rabbitmq import RabbitQueue
from gateway.runtime import QUEUE_CHANNELS
from gateway.store import tables as t
from gateway.store.blobs import Blobs
from gateway.store.engine import Store, open_store
from gateway.worker.plan import Item
from normalizer.message import stamp
from tests.faults.desk import Desk
from tests.services.postgres import PostgresCluster
from tests.services.rabbitmq import RabbitNode
from tests.simulation.crowd import START
from tests.simulation.desk import GATEWAYS, Delivery, inboxes
from tests.simulation.month import as_queued, simulate
from tests.simulation.verdict import differences

MESSAGES = int(os.environ.get("FRONTDESK_TEST_MONTH", "600"))
_AT_ONCE = 100  # deliveries that are being accepted at any moment

pytestmark = [
    pytest.mark.rabbitmq,
    pytest.mark.postgres,
    pytest.mark.timeout(240 if MESSAGES <= 5000 else 1800),
]
_clock: ContextVar[datetime] = ContextVar("clock", default=START)


@pytest.fixture
async def desk(
    tmp_path: Path, rabbit_node: RabbitNode, postgres_cluster: PostgresCluster
) -> AsyncIterator[tuple[Desk, str]]:
    """Two workers, and the broker's address."""
    database = await asyncio.to_thread(postgres_cluster.create_database, f"month_{uuid4().hex[:12]}")
    queue_url = await asyncio.to_thread(rabbit_node.desk_url)
    desk = Desk(tmp_path, queue_url=queue_url, store_url=database)
    for name in ("worker-1", "worker-2"):
        desk.add(name, "work")
    await desk.start()
    yield desk, queue_url
    await desk.close()


async def test_a_month_through_the_queue_and_two_workers(desk: tuple[Desk, str], tmp_path: Path) -> None:
    members, queue_url = desk
    deliveries = simulate(MESSAGES, seed=4)
    order = as_queued(len(deliveries), seed=5)
    doors = await _open_doors(queue_url, tmp_path)
    half = len(order) // 2
    try:
        items = await _accept(doors, deliveries, order[:half])
        await asyncio.to_thread(members.members["worker-1"].kill)
        items |= await _accept(doors, deliveries, order[half:])
        await asyncio.to_thread(members.members["worker-1"].start)
    finally:
        for door in doors:
            door.close()
            await door._queue.close()
    store = open_store(members.store_url, pool_size=1)
    try:
        await _until_recorded(store, members, len(deliveries))
        found = await store.read(differences, deliveries, [items[place] for place in range(len(deliveries))])
    finally:
        await store.close()
    assert found == []
    audit = await members.command("audit")
    assert audit.returncode == 0, audit.stdout + audit.stderr
    assert members.tracebacks() == []


async def _open_doors(queue_url: str, folder: Path) -> list[Intake]:
    doors = []
    for gateway in GATEWAYS:
        queue = RabbitQueue(queue_url, channels=QUEUE_CHANNELS)
        await queue.start()
        doors.append(Intake(queue, Blobs(folder / "blobs"), gateway, now=_clock.get))
    return doors


async def _accept(doors: Sequence[Intake], deliveries: Sequence[Delivery], order: Sequence[int]) -> dict[int, Item]:
    """Every delivery by one of the doors, at its own time; what was queued of each, by place."""
    slots = asyncio.Semaphore(_AT_ONCE)
    items: dict[int, Item] = {}

    async def accept(place: int) -> None:
        delivery = deliveries[place]
        door = doors[place % len(doors)]
        adapter = inboxes()[delivery.inbox]
        inbox = Inbox(delivery.inbox, adapter.channel, cast("Adapter[InboxOptions]", adapter), adapter.options)
        async with slots:
            _clock.set(delivery.at)
            [receipt] = await door.accept(inbox, delivery.raw)
        items[place] = stamp(
            receipt.draft,
            receipt_id=receipt.receipt_id,
            gateway=door.life.gateway,
            sequence=0,
            channel=adapter.channel,
            inbox=delivery.inbox,
            join="participants",
            received_at=delivery.at,
        )

    async with asyncio.TaskGroup() as tasks:
        for place in order:
            tasks.create_task(accept(place))
    return items


async def _until_recorded(store: Store, desk: Desk, count: int) -> None:
    """Until every delivery has its receipt; a worker that ended by itself is an error."""
    seen, still = -1, 0
    while seen < count:
        for member in desk.members.values():
            member.check()
        now = await store.read(lambda conn: conn.scalar(select(func.count()).select_from(t.receipts)) or 0)
        still = still + 1 if now == seen else 0
        assert still < 120, f"{now} of {count} deliveries were recorded, and nothing more for a minute"
        seen = now
        await asyncio.sleep(0.5)
