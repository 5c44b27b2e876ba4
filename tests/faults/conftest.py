"""A desk on RabbitMQ and PostgreSQL of its own: two gateways and two workers; a seed, printed, for what is random."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.conftest import run_cluster
from tests.faults.desk import Desk
from tests.faults.journal import Journal
from tests.services.postgres import PostgresCluster
from tests.services.rabbitmq import RabbitNode

SEED = os.environ.get("SEED") or str(random.SystemRandom().randrange(10**6))


def pytest_report_header() -> str:
    """The same faults at the same moments: `make chaos SEED=...`."""
    return f"faults: SEED={SEED}"


@pytest.fixture
def dice(request: pytest.FixtureRequest) -> random.Random:
    """Random, and the same again with the same SEED."""
    print(f"SEED={SEED}", flush=True)
    return random.Random(f"{SEED} {request.node.name}")


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """What the senders know."""
    with Journal(tmp_path / "journal") as journal:
        yield journal


@pytest.fixture
def broker(rabbit_node: RabbitNode) -> Iterator[RabbitNode]:
    """The node, running and thawed again whatever a test did to it."""
    rabbit_node.start()
    yield rabbit_node
    rabbit_node.thaw()
    rabbit_node.start()


@pytest.fixture(scope="session")
def postgres_cluster() -> Iterator[PostgresCluster]:
    """One whose files are on the disk, as a desk's are."""
    yield from run_cluster(None)


@pytest.fixture
def database(postgres_cluster: PostgresCluster) -> Iterator[PostgresCluster]:
    """The cluster, running and thawed again whatever a test did to it."""
    postgres_cluster.start()
    postgres_cluster.checkpoint()
    yield postgres_cluster
    postgres_cluster.thaw()
    postgres_cluster.start()


@pytest.fixture
async def desk(tmp_path: Path, broker: RabbitNode, database: PostgresCluster) -> AsyncIterator[Desk]:
    """Started, and ended in order."""
    url = await asyncio.to_thread(database.create_database, f"faults_{uuid4().hex[:12]}")
    desk = Desk(tmp_path, queue_url=await asyncio.to_thread(broker.desk_url), store_url=url)
    for name, verb in (("gateway-1", "serve"), ("gateway-2", "serve"), ("worker-1", "work"), ("worker-2", "work")):
        desk.add(name, verb)
    await desk.start()
    yield desk
    await desk.close()
