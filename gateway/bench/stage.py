"""One stack measured: its processes started, two kinds of messages sent through its doors, everything accounted for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, func, select

from gateway.bench import bare
from gateway.bench.client import BenchError, FormLane, Lane, Load, MailLane
from gateway.bench.content import Kind, compose
from gateway.bench.desk import accounted, quantiles, runtime_of, settings_of, watch
from gateway.bench.processes import Running, Usage, free_port, measure_all, measure_self
from gateway.store import tables as t
from gateway.store.engine import Store

KINDS: Final[tuple[Kind, ...]] = ("form", "mail")
_FORM_LANES: Final = 64
_MAIL_LANES: Final = 32
_LOOK: Final = 0.01  # seconds between two looks at what has become visible
_DRAIN_SECONDS: Final = 300.0
_WARM_UP: Final = 200  # messages of each kind before anything is measured, at most


@dataclass(slots=True)
class Result:
    """One kind of message on one stack. Rates a second; times in milliseconds; bytes."""

    stack: str
    kind: Kind
    messages: int
    accepted_per_s: float = 0.0
    ticketed_per_s: float = 0.0
    bare_publish_per_s: float = 0.0
    bare_insert_per_s: float = 0.0
    paced_per_s: float = 0.0
    accept_ms: dict[str, float] = field(default_factory=dict)
    visible_ms: dict[str, float] = field(default_factory=dict)
    cpu_s: dict[str, float] = field(default_factory=dict)
    peak_bytes: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Stack:
    """One way to run Frontdesk, and its numbers."""

    name: str
    results: list[Result] = field(default_factory=list)
    audit: str = ""
    balanced: bool = False

    def as_dict(self) -> dict[str, Any]:
        """For a program."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run. `members`: process name -> verb; `watched`: services that we may measure."""

    name: str
    queue_url: str
    store_url: str
    members: Mapping[str, str]
    watched: Mapping[str, int]
    messages: int
    paced_rate: float
    paced_seconds: float

    @property
    def gateways(self) -> int:
        """How many of them have doors."""
        return sum(verb in ("up", "serve") for verb in self.members.values())


async def run_stage(plan: Plan, folder: Path) -> Stack:
    """Start, warm up, measure both kinds, audit, stop; then the bare costs on the same queue and store."""
    http, smtp = free_port(), free_port()
    environment = settings_of(plan.queue_url, plan.store_url, folder, http, smtp)
    stack = Stack(plan.name)
    async with accounted(stack, plan.members, environment, folder, (http, smtp)) as (members, store):
        watched = await watch(members, plan.watched)
        for kind in KINDS:
            measured = _Measured(plan, kind, members, watched, store)
            stack.results.append(await measured.run(http if kind == "form" else smtp))
    runtime = runtime_of(environment)
    try:
        await runtime.start()
        for result in stack.results:
            pattern = await bare.catch(runtime, result.kind)
            result.bare_publish_per_s = await bare.publish(runtime, pattern, plan.messages)
            result.bare_insert_per_s = await bare.insert(runtime, pattern, plan.messages)
    finally:
        await runtime.close()
    return stack


class _Measured:
    """One kind on one running stack."""

    def __init__(
        self, plan: Plan, kind: Kind, members: Sequence[Running], watched: Mapping[str, int], store: Store
    ) -> None:
        self._plan, self._kind, self._members, self._watched, self._store = plan, kind, members, watched, store

    async def run(self, port: int) -> Result:
        load = Load()
        await load.open(self._lanes(), port)
        try:
            await self._flood(load, min(_WARM_UP, self._plan.messages))
            result = await self._flooded(load)
            await self._paced(load, result)
        finally:
            load.close()
        return result

    def _lanes(self) -> list[Lane]:
        if self._kind == "form":
            return [FormLane("contact") for _ in range(_FORM_LANES)]
        return [MailLane("support@localhost") for _ in range(_MAIL_LANES)]

    async def _flood(self, load: Load, count: int) -> tuple[float, float]:
        """Seconds until the last is accepted, and until the last is in a ticket."""
        before = await self._store.read(_newest)
        items = compose(self._kind, count)
        begun = time.perf_counter()
        answers = await load.flood(items)
        accepted = max(answer.done for answer in answers) - begun
        await self._visible(before + count)
        return accepted, time.perf_counter() - begun

    async def _flooded(self, load: Load) -> Result:
        count = self._plan.messages
        before = self._measure()
        accepted, ticketed = await self._flood(load, count)
        after = self._measure()
        return Result(
            self._plan.name,
            self._kind,
            count,
            accepted_per_s=count / accepted,
            ticketed_per_s=count / ticketed,
            cpu_s={name: after[name].cpu - before[name].cpu for name in after},
            peak_bytes={name: usage.peak for name, usage in after.items()},
        )

    def _measure(self) -> dict[str, Usage]:
        return measure_all(self._watched) | {"(bench client)": measure_self()}

    async def _visible(self, wanted: int) -> None:
        deadline = time.perf_counter() + _DRAIN_SECONDS
        while (newest := await self._store.read(_newest)) < wanted:
            for member in self._members:
                member.check()
            if time.perf_counter() > deadline:
                raise BenchError(f"{wanted - newest} messages are in no ticket after {_DRAIN_SECONDS:.0f} s")
            await asyncio.sleep(0.02)

    async def _paced(self, load: Load, result: Result) -> None:
        """Latencies, at a rate the desk can keep up with: under a flood they would only measure the flood."""
        plan = self._plan
        items = compose(self._kind, min(int(plan.paced_rate * plan.paced_seconds), plan.messages))
        stop = asyncio.Event()
        watching = asyncio.create_task(_watch(self._store, await self._store.read(_newest), len(items), stop))
        try:
            answers = await load.pace(items, plan.paced_rate)
            async with asyncio.timeout(_DRAIN_SECONDS):
                seen = await watching
        finally:
            stop.set()
            await asyncio.gather(watching, return_exceptions=True)
        result.paced_per_s = plan.paced_rate
        result.accept_ms = quantiles([answer.done - answer.due for answer in answers])
        result.visible_ms = quantiles([max(0.0, seen[answer.receipt] - answer.done) for answer in answers])


async def _watch(store: Store, after: int, count: int, stop: asyncio.Event) -> dict[str, float]:
    """When each receipt's comment could be read by somebody else, by `time.perf_counter`, to `_LOOK` seconds."""
    seen: dict[str, float] = {}
    while len(seen) < count and not stop.is_set():
        rows = await store.read(_since, after)
        now = time.perf_counter()
        for number, receipt in rows:
            seen[str(receipt)] = now
            after = max(after, number)
        await asyncio.sleep(_LOOK)
    return seen


def _newest(conn: Connection) -> int:
    return conn.scalar(select(func.coalesce(func.max(t.comments.c.id), 0))) or 0


def _since(conn: Connection, after: int) -> list[tuple[int, Any]]:
    columns = t.comments.c
    rows = conn.execute(select(columns.id, columns.receipt_id).where(columns.id > after).order_by(columns.id))
    return [(row.id, row.receipt_id) for row in rows]
