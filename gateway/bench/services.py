"""A private RabbitMQ and PostgreSQL for one run, by the checkout's test services; nothing that runs is touched."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from gateway.bench.client import BenchError

_MIB: Final = 1 << 20
_QUARTER: Final = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 4 // _MIB
# As a desk's own server should have them (deploy/SCALING.md); those of the tests are for many small databases, and
# write every page anew to the log each few seconds.
_DATABASE: Final = {"shared_buffers": f"{_QUARTER}MB", "max_wal_size": "4GB"}


@dataclass(frozen=True, slots=True)
class Services:
    """Where queue and store are, and the processes to watch: name -> process id."""

    queue_url: str
    store_url: str
    pids: dict[str, int]


@asynccontextmanager
async def private_services() -> AsyncIterator[Services]:
    """Start both, and delete them afterwards. Raises BenchError with what is missing."""
    async with contextlib.AsyncExitStack() as stack:
        node = _create("rabbitmq", "RabbitNode", stack)
        cluster = _create("postgres", "PostgresCluster", stack, settings=_DATABASE)
        await asyncio.gather(asyncio.to_thread(node.start), asyncio.to_thread(cluster.start))
        store_url = await asyncio.to_thread(cluster.create_database, "frontdesk_bench")
        queue_url = await asyncio.to_thread(node.desk_url)
        yield Services(queue_url, store_url, {"RabbitMQ": node.pid, "PostgreSQL": cluster.pid})


def _create(module: str, name: str, stack: contextlib.AsyncExitStack, **options: Any) -> Any:
    # By name: the package does not depend on its tests, and an installed Frontdesk has none.
    try:
        home = importlib.import_module(f"tests.services.{module}")
    except ModuleNotFoundError:
        raise BenchError(
            "private servers are part of the checkout; run `make bench` there, or give --queue-url and --store-url"
        ) from None
    missing = importlib.import_module("tests.services.process").MissingProgramError
    try:
        service = getattr(home, name)(**options)
    except missing as error:
        raise BenchError(str(error)) from None
    stack.push_async_callback(asyncio.to_thread, service.stop)
    return service
