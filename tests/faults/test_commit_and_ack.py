"""The two moments that matter most, met exactly: between COMMIT and ack, and inside the transaction.

A relay between one worker and its broker (or its database) stops passing what the worker says, the store is watched
until the moment has come, and the worker is killed there. What it still had to say is never said.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import Connection, func, select

from gateway.store import tables as t
from gateway.store.engine import Store, open_store
from tests.faults.checking import check, hold_against, read_stored
from tests.faults.customers import Crowd
from tests.faults.desk import Desk
from tests.faults.journal import Journal
from tests.faults.proxy import Relay
from tests.services.postgres import PostgresCluster
from tests.services.rabbitmq import RabbitNode

pytestmark = [pytest.mark.fault, pytest.mark.rabbitmq, pytest.mark.postgres, pytest.mark.timeout(300)]


@pytest.fixture
async def desk(tmp_path: Path, broker: RabbitNode, database: PostgresCluster) -> AsyncIterator[Desk]:
    """A gateway and two workers, of which `worker-2` is told its addresses and started by the test."""
    url = await asyncio.to_thread(database.create_database, f"faults_{uuid4().hex[:12]}")
    desk = Desk(tmp_path, queue_url=await asyncio.to_thread(broker.desk_url), store_url=url)
    desk.add("gateway", "serve")
    desk.add("worker", "work")
    await desk.start()
    yield desk
    await desk.close()


@pytest.fixture
async def store(desk: Desk) -> AsyncIterator[Store]:
    """A look at the database that goes past the relay."""
    store = open_store(desk.store_url, pool_size=1)
    yield store
    await store.close()


@asynccontextmanager
async def relayed(desk: Desk, variable: str) -> AsyncIterator[Relay]:
    """A relay in the place of the service that the worker knows by this variable."""
    worker = desk.members["worker"]
    direct = worker.environment[variable]
    port = re.search(r"127\.0\.0\.1:(\d+)", direct)
    assert port is not None
    async with Relay(int(port[1])) as relay:
        worker.kill()
        worker.environment[variable] = direct.replace(port[0], f"127.0.0.1:{relay.port}")
        await asyncio.to_thread(worker.start)
        yield relay
        worker.environment[variable] = direct


async def test_a_worker_is_killed_between_commit_and_ack(desk: Desk, store: Store, journal: Journal) -> None:
    """Its messages come again to another worker, which finds them recorded and only acknowledges them."""
    async with relayed(desk, "FRONTDESK_QUEUE_URL") as relay:
        async with Crowd(desk.gates, journal, each=1) as crowd:
            await crowd.go_on(1)
            relay.hold()
            before = await store.read(count_receipts)
            await crowd.go_on(2)
        recorded = await _at_rest(store)
        assert recorded > before, "nothing was committed while acks were held"
        assert relay.held_bytes > 0, "the worker acknowledged nothing after its commits"
        desk.members["worker"].kill()
    await asyncio.to_thread(desk.members["worker"].start)
    await check(desk, journal, at_least=20)


async def test_a_worker_is_killed_inside_its_transaction(desk: Desk, store: Store, journal: Journal) -> None:
    """Nothing was acknowledged before its commit, so all of it comes again."""
    async with relayed(desk, "FRONTDESK_STORE_URL") as relay:
        async with Crowd(desk.gates, journal, each=1) as crowd:
            await crowd.go_on(1)
            relay.hold()
            await crowd.go_on(2)
        await _at_rest(store)
        assert relay.held_bytes > 0, "the worker had nothing to say to the store"
        assert hold_against(journal, await store.read(read_stored)).lost, "the kill would prove nothing"
        desk.members["worker"].kill()
    await asyncio.to_thread(desk.members["worker"].start)
    await check(desk, journal, at_least=20)


async def test_the_outcome_of_a_commit_stays_unknown(desk: Desk, journal: Journal) -> None:
    """The connection to the database breaks again and again, under commits as well; nothing comes of it."""
    async with relayed(desk, "FRONTDESK_STORE_URL") as relay:
        async with Crowd(desk.gates, journal, each=1, pause=0.01) as crowd:
            for _ in range(20):
                await crowd.go_on(0.15)
                relay.cut()
        await check(desk, journal, at_least=40)


def count_receipts(conn: Connection) -> int:
    """How many deliveries have an outcome."""
    return conn.scalar(select(func.count()).select_from(t.receipts)) or 0


async def _at_rest(store: Store) -> int:
    """Wait until the number of receipts stands still; the number."""
    before = -1
    while (now := await store.read(count_receipts)) != before:
        before = now
        await asyncio.sleep(1)
    return now
