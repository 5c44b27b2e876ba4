"""`frontdesk bench`: messages accepted and messages in tickets a second, through the real doors of real processes."""

from __future__ import annotations

import os
import platform
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from gateway.bench.client import BenchError
from gateway.bench.desk import runtime_of, settings_of
from gateway.bench.drive import Driven
from gateway.bench.flood import Flood, measure_flood
from gateway.bench.growth import Grown, grown, measure_growth, sizes_up_to
from gateway.bench.loads import MONTH, Wanted, drive_own, drive_running
from gateway.bench.mails import Mail
from gateway.bench.mix import parse_mix
from gateway.bench.reading import Figure, figures
from gateway.bench.report import lines, machine, markdown
from gateway.bench.services import Services, private_services
from gateway.bench.stage import Plan, Stack, run_stage
from gateway.bench.storm import Storm, measure_storm, stormed
from gateway.commands.failures import NOT_SO, OK
from gateway.commands.output import note, print_json, print_line
from gateway.store.migrate import migrate
from gateway.up import collect_less

_RATE: Final = 200.0  # messages a second at which latencies are measured (DESIGN 11)
_SECONDS: Final = 6.0
SEEDS_MIX: Final = "form=65,chat=10,mail=15,twitter=5,phone=5"  # that of 25,000 messages a month


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line says. Empty addresses: private services, and desks of the bench's own."""

    messages: int = 5000
    workers: int = 1
    gateways: int = 1
    only: str = ""
    queue_url: str = ""
    store_url: str = ""
    mix: str = ""
    rate: float = 0.0
    month: bool = False
    write: Path | None = None
    running: bool = False
    http: str = ""
    smtp: str = ""
    grow: int = 0

    @property
    def loads(self) -> list[Wanted]:
        """The loads beside, or instead of, messages of 2 KB."""
        found = [Wanted(self.messages, self.mix, self.rate)] if self.mix else []
        if self.write and not self.mix:
            found.append(Wanted(min(self.messages, int(_RATE * 15)), SEEDS_MIX, _RATE))
        if self.month or self.write:
            found.append(Wanted(MONTH))
        return found

    @property
    def kinds(self) -> bool:
        """Whether to measure 2 KB messages, one kind after the other."""
        return self.write is not None or not self.loads

    def takes(self, part: str) -> bool:
        """Whether to measure one of the parts about somebody's flood, or about reading."""
        return self.kinds and not self.running and self.only in ("", part)


async def bench(asked: Asked, *, as_json: bool) -> int:
    """Measure and print the figures; 1 when an audit does not balance or something could not be measured."""
    if asked.grow:
        return await _grow(asked, as_json=as_json)
    stacks: list[Stack] = []
    loads: list[Driven] = []
    troubles: list[str] = []
    read = await _read() if asked.takes("reading") else []
    for name in ("running",) if asked.running else ("embedded", "services"):
        if asked.running or asked.only in ("", name):
            try:
                await _measure(name, asked, stacks, loads)
            except BenchError as error:
                troubles.append(f"{name}: {error}")
    flood = await _flood(troubles) if asked.takes("flood") else None
    storms = await _storms(asked, troubles) if asked.takes("storm") else []
    mail = Mail(read, flood)
    tables = [*mail.tables(), *map(stormed, storms)]
    audits = [*mail.audits(), *((f"{storm.stack}, X floods", storm.audit) for storm in storms)]
    if as_json:
        about = {"cpus": os.cpu_count(), "python": platform.python_version(), "load": os.getloadavg()}
        found = {"stacks": [stack.as_dict() for stack in stacks], "loads": [load.as_dict() for load in loads]}
        found["storms"] = [storm.as_dict() for storm in storms]
        print_json({"machine": about, **found, **mail.as_dict(), "troubles": troubles})
    else:
        for line in lines(stacks, loads, tables, audits):
            print_line(line)
    for trouble in troubles:
        note(f"not measured: {trouble}")
    if asked.write is not None and not troubles:
        asked.write.write_text(markdown(stacks, loads, datetime.now(UTC), tables, audits), encoding="utf-8")
        note(f"written to {asked.write}")
    measured: list[Stack | Driven | Storm] = [*stacks, *loads, *storms]
    balanced = all(one.balanced for one in measured) and mail.balanced
    return OK if balanced and not troubles else NOT_SO


async def _grow(asked: Asked, *, as_json: bool) -> int:
    """What recording costs on a desk that has grown."""
    found: dict[str, list[Grown]] = {}
    troubles: list[str] = []
    for name in ("embedded", "services"):
        if asked.only in ("", name):
            try:
                async with _embedded(asked) if name == "embedded" else _on_services(asked) as (plan, place):
                    note(f"measuring {plan.name}: recording on up to {asked.grow:,} tickets")
                    found[plan.name] = await _grown(plan, place, asked.grow)
            except BenchError as error:
                troubles.append(f"{name}: {error}")
    if as_json:
        costs = {name: [asdict(cost) for cost in grown] for name, grown in found.items()}
        print_json({"machine": machine(), "growth": costs, "troubles": troubles})
    else:
        for line in lines([], [], [grown(name, costs) for name, costs in found.items()]):
            print_line(line)
    for trouble in troubles:
        note(f"not measured: {trouble}")
    return OK if not troubles else NOT_SO


async def _grown(plan: Plan, place: Path, tickets: int) -> list[Grown]:
    runtime = runtime_of(settings_of("embedded:", plan.store_url, place, 0, 0))
    await runtime.start()
    try:
        await runtime.store.write(migrate)
        database = plan.watched.get("PostgreSQL")
        return [cost async for cost in measure_growth(runtime, sizes_up_to(tickets), database, note)]
    finally:
        await runtime.close()


@asynccontextmanager
async def _on_services(asked: Asked) -> AsyncIterator[tuple[Plan, Path]]:
    async with _services(asked.queue_url, asked.store_url) as services:
        with tempfile.TemporaryDirectory(prefix="frontdesk-bench-") as folder:
            yield _service_plan(asked, services), Path(folder)


async def _read() -> list[Figure]:
    note("measuring what it costs to read a mail")
    with tempfile.TemporaryDirectory(prefix="frontdesk-bench-") as folder:
        runtime = runtime_of(settings_of("embedded:", "", Path(folder), 0, 0))
        await runtime.start()
        collect_less()  # as every process of the desk does
        try:
            return list(figures(runtime.inboxes["support"].adapter))
        finally:
            await runtime.close()


async def _flood(troubles: list[str]) -> Flood | None:
    note("measuring form posts under hostile mail: `frontdesk up`, SQLite queue and store")
    with tempfile.TemporaryDirectory(prefix="frontdesk-bench-") as folder:
        try:
            return await measure_flood(Path(folder))
        except BenchError as error:
            troubles.append(f"flood: {error}")
            return None


async def _storms(asked: Asked, troubles: list[str]) -> list[Storm]:
    found: list[Storm] = []
    for name in ("embedded", "services"):
        try:
            async with _embedded(asked) if name == "embedded" else _on_services(asked) as (plan, place):
                note(f"measuring {plan.name}: forms and calls while X floods")
                found.append(await measure_storm(plan, place))
        except BenchError as error:
            troubles.append(f"storm on {name}: {error}")
    return found


async def _measure(name: str, asked: Asked, stacks: list[Stack], loads: list[Driven]) -> None:
    if asked.mix:
        parse_mix(asked.mix)
    if name == "running":
        for wanted in asked.loads or [Wanted(asked.messages, SEEDS_MIX, asked.rate)]:
            note(f"measuring the running desk: {wanted.name}")
            loads.append(await drive_running(wanted, asked.http, asked.smtp, note))
            loads[-1].stack = "running desk"
    elif name == "embedded":
        for wanted in asked.loads:
            async with _embedded(asked) as (plan, place):
                await _drive(wanted, plan, place, loads)
        if asked.kinds:
            async with _embedded(asked) as (plan, place):
                note("measuring the embedded default: `frontdesk up`, SQLite queue and store")
                stacks.append(await run_stage(plan, place))
    else:
        async with _services(asked.queue_url, asked.store_url) as services:
            for wanted in asked.loads:
                with tempfile.TemporaryDirectory(prefix="frontdesk-bench-") as folder:
                    await _drive(wanted, _service_plan(asked, services), Path(folder), loads)
            if asked.kinds:
                with tempfile.TemporaryDirectory(prefix="frontdesk-bench-") as folder:
                    plural = "s" if asked.workers > 1 else ""
                    note(f"measuring RabbitMQ + PostgreSQL: a gateway, {asked.workers} worker{plural}")
                    stacks.append(await run_stage(_service_plan(asked, services), Path(folder)))


async def _drive(wanted: Wanted, plan: Plan, folder: Path, loads: list[Driven]) -> None:
    note(f"measuring {plan.name}: {wanted.name}")
    driven = await drive_own(wanted, plan, folder, note)
    driven.stack = plan.name
    loads.append(driven)


@asynccontextmanager
async def _embedded(asked: Asked) -> AsyncIterator[tuple[Plan, Path]]:
    with tempfile.TemporaryDirectory(prefix="frontdesk-bench-") as folder:
        store = f"sqlite:///{Path(folder) / 'frontdesk.db'}"
        yield Plan("embedded", "embedded:", store, {"up": "up"}, {}, asked.messages, _RATE, _SECONDS), Path(folder)


def _service_plan(asked: Asked, services: Services) -> Plan:
    more = {f"gateway {number + 1}": "serve" for number in range(1, asked.gateways)}
    members = {"gateway": "serve"} | more | {f"worker {number + 1}": "work" for number in range(asked.workers)}
    return Plan(
        "RabbitMQ+PostgreSQL" if len(members) == 2 else f"{asked.gateways} gateways, {asked.workers} workers",
        services.queue_url,
        services.store_url,
        members,
        services.pids,
        asked.messages,
        _RATE,
        _SECONDS,
    )


@asynccontextmanager
async def _services(queue_url: str, store_url: str) -> AsyncIterator[Services]:
    if queue_url and store_url:
        yield Services(queue_url, store_url, {})
        return
    if queue_url or store_url:
        raise BenchError("give --queue-url and --store-url together, or neither")
    async with private_services() as services:
        yield services


__all__: Sequence[str] = ("Asked", "bench")
