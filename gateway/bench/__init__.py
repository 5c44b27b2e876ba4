"""`frontdesk bench`: messages accepted and messages in tickets a second, through the real doors of real processes."""

from __future__ import annotations

import os
import platform
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from gateway.bench.client import BenchError
from gateway.bench.report import lines
from gateway.bench.services import Services, private_services
from gateway.bench.stage import Plan, Stack, run_stage
from gateway.commands.failures import NOT_SO, OK
from gateway.commands.output import note, print_json, print_line

_RATE: Final = 200.0  # messages a second at which latencies are measured (DESIGN 11)
_SECONDS: Final = 6.0


async def bench(
    *, messages: int, as_json: bool, queue_url: str = "", store_url: str = "", workers: int = 1, only: str = ""
) -> int:
    """Measure both stacks and print the figures; 1 when an audit does not balance or a stack could not be measured.

    With `queue_url` and `store_url` the second stack runs on these services; the database must be one for the bench.
    """
    stacks: list[Stack] = []
    troubles: list[str] = []
    for name in ("embedded", "services"):
        if only in ("", name):
            try:
                stacks.append(await _measure(name, messages, queue_url, store_url, workers))
            except BenchError as error:
                troubles.append(f"{name}: {error}")
    if as_json:
        machine = {"cpus": os.cpu_count(), "python": platform.python_version(), "load": os.getloadavg()}
        print_json({"machine": machine, "stacks": [stack.as_dict() for stack in stacks], "troubles": troubles})
    else:
        for line in lines(stacks):
            print_line(line)
    for trouble in troubles:
        note(f"not measured: {trouble}")
    return OK if not troubles and all(stack.balanced for stack in stacks) else NOT_SO


async def _measure(name: str, messages: int, queue_url: str, store_url: str, workers: int) -> Stack:
    with tempfile.TemporaryDirectory(prefix="frontdesk-bench-") as folder:
        place = Path(folder)
        if name == "embedded":
            store = f"sqlite:///{place / 'frontdesk.db'}"
            note("measuring the embedded default: one process, SQLite queue and store")
            plan = Plan("embedded", "embedded:", store, {"up": "up"}, {}, messages, _RATE, _SECONDS)
            return await run_stage(plan, place)
        async with _services(queue_url, store_url) as services:
            note(f"measuring RabbitMQ + PostgreSQL: a gateway, {workers} worker{'s' if workers > 1 else ''}")
            members = {"gateway": "serve"} | {f"worker {number + 1}": "work" for number in range(workers)}
            plan = Plan(
                "RabbitMQ+PostgreSQL",
                services.queue_url,
                services.store_url,
                members,
                services.pids,
                messages,
                _RATE,
                _SECONDS,
            )
            return await run_stage(plan, place)


@asynccontextmanager
async def _services(queue_url: str, store_url: str) -> AsyncIterator[Services]:
    if queue_url and store_url:
        yield Services(queue_url, store_url, {})
        return
    if queue_url or store_url:
        raise BenchError("give --queue-url and --store-url together, or neither")
    async with private_services() as services:
        yield services
