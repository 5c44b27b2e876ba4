"""What the queues of a test run on: a file of their own, or a virtual host.

Making a virtual host takes a second, emptying one does not, so they are used again.
"""

from __future__ import annotations

import contextlib
import resource
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiormq
import pytest

from gateway.queues.embedded import EmbeddedQueue
from gateway.queues.link import LOST
from gateway.queues.topology import DEFAULT_CHANNELS, compose_topology
from tests.services.rabbitmq import RabbitNode

# By number of crashes: RabbitMQ 3.10 loses a quorum queue that was deleted and declared again before a SIGKILL (its
# consumers get INTERNAL_ERROR for ever), so what was used before a crash is not used again, and a test that kills the
# broker takes `unused_broker_url`.
_spare: defaultdict[int, list[str]] = defaultdict(list)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Of an embedded queue."""
    return tmp_path / "queue.db"


@pytest.fixture
async def queue(path: Path) -> AsyncIterator[EmbeddedQueue]:
    """The embedded one."""
    queue = EmbeddedQueue(path)
    await queue.start()
    yield queue
    await queue.close()


@pytest.fixture
def full_disk(path: Path) -> Iterator[None]:
    """No file of this process may grow beyond 300 kB: writes fail with EFBIG, as they do with ENOSPC."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
async def broker_url(rabbit_node: RabbitNode) -> AsyncIterator[str]:
    """AMQP URL of a virtual host in which nothing of ours is declared."""
    spare = _spare[rabbit_node.crashes]
    url = spare.pop() if spare else rabbit_node.fresh_url()
    yield url
    with contextlib.suppress(*LOST):
        await wipe(url)
        spare.append(url)


@pytest.fixture
def unused_broker_url(rabbit_node: RabbitNode) -> str:
    """AMQP URL of a virtual host in which nothing of ours ever was declared."""
    return rabbit_node.fresh_url()


async def wipe(url: str) -> None:
    """Delete everything Frontdesk declares, with what is in it."""
    topology = compose_topology(DEFAULT_CHANNELS)
    async with aiormq.connect(url) as connection:
        channel = await connection.channel()
        for queue in topology.queues:
            await channel.queue_delete(queue.name)
        for exchange in topology.exchanges:
            await channel.exchange_delete(exchange.name)
