"""A storm of posts on one channel, and how much later the tickets of callers and of those who use the form come.

Forms and calls arrive at a modest rate, in turns quiet and while X delivers two thousand posts a second: more than two
cores take in, so X is kept waiting all the time. Every delivery of the form and the phone is timed from when it was due
to be sent until it is accepted, and on until its receipt has an outcome that somebody else can read.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid4

from sqlalchemy import Connection, select

from gateway.bench.client import Answer, Load, WebLane
from gateway.bench.content import Item
from gateway.bench.desk import accounted, quantiles, settings_of, settle
from gateway.bench.doors import Doors
from gateway.bench.loads import inboxes_with
from gateway.bench.mix import write_mix
from gateway.bench.processes import free_port
from gateway.bench.report import Table
from gateway.bench.stage import Plan
from gateway.settings import PREFIX
from gateway.store import tables as t
from gateway.store.engine import Store

_POSTS_PER_S: Final = 2_000.0
_FORMS_PER_S: Final = 20.0
_CALLS_PER_S: Final = 4.0  # of five requests each
_SECONDS: Final = 6.0
_TURNS: Final = 2
_SHOWN: Final = ("accept_p99", "p50", "p99", "whole_p99")
_LOOK: Final = 0.005
_STEADY_LANES: Final = 32
_STORM_LANES: Final = 64
_WARM_UP: Final = 100


@dataclass(slots=True)
class Storm:
    """Milliseconds of each channel, quiet and in the storm: from due to accepted (`accept_p99`), from there to visible
    (`p50`, `p99`), and both together (`whole_p99`)."""

    stack: str
    quiet_ms: dict[str, dict[str, float]] = field(default_factory=dict)
    storm_ms: dict[str, dict[str, float]] = field(default_factory=dict)
    posts_per_s: float = _POSTS_PER_S
    accepted_per_s: float = 0.0
    audit: str = ""
    balanced: bool = False

    def ratio(self, channel: str, what: str = "p99") -> float:
        """How many times longer the slowest hundredth of a channel waits from accepted to visible, or for `what`."""
        return self.storm_ms[channel][what] / self.quiet_ms[channel][what]

    def as_dict(self) -> dict[str, Any]:
        """For a program."""
        return asdict(self) | {"ratios": {channel: self.ratio(channel) for channel in self.quiet_ms}}


def stormed(found: Storm) -> Table:
    """Each channel without and with the storm."""
    how = f"{found.stack}: X floods at {found.posts_per_s:,.0f}/s, of which {found.accepted_per_s:,.0f}/s are accepted"
    rows = [
        (
            channel,
            *(f"{ms[channel][name]:,.0f} ms" for ms in (found.quiet_ms, found.storm_ms) for name in _SHOWN),
            f"{found.ratio(channel):.1f}",
            f"{found.ratio(channel, 'whole_p99'):.1f}",
        )
        for channel in found.quiet_ms
    ]
    quiet, stormy = (
        (f"{when}: accept p99", "accept to visible p50", "p99", "due to visible p99")
        for when in ("quiet", "in the storm")
    )
    return Table((how, *quiet, *stormy, "accept to visible, p99 to p99 (< 2)", "due to visible"), rows)


async def measure_storm(plan: Plan, folder: Path, *, seconds: float = _SECONDS, turns: int = _TURNS) -> Storm:
    """Start a desk, raise the storm, account for everything. Raises BenchError."""
    http, smtp = free_port(), free_port()
    token, secret = uuid4().hex, uuid4().hex
    environment = settings_of(plan.queue_url, plan.store_url, folder, http, smtp)
    environment[PREFIX + "INBOXES"] = json.dumps(inboxes_with(token, secret))
    inboxes = {"form": "contact", "phone": "phone", "twitter": "twitter"}
    doors = Doors(("127.0.0.1", http), ("127.0.0.1", smtp), f"http://127.0.0.1:{http}", inboxes, "", token, secret)
    found = Storm(plan.name)
    async with accounted(found, plan.members, environment, folder, (http, smtp)) as (_, store):
        desk = _Desk(doors, store)
        await desk.open()
        try:
            await desk.weather(found, seconds, turns)
        finally:
            desk.close()
    return found


@dataclass(frozen=True, slots=True)
class _Wait:
    """Seconds from when it was due to be sent until it was accepted, and on until somebody else could read its outcome.

    The second may be nothing: it can be recorded before its sender has heard the answer.
    """

    channel: str
    accepted: float
    visible: float


class _Desk:
    """The two loads on one desk."""

    def __init__(self, doors: Doors, store: Store) -> None:
        self._doors, self._store = doors, store
        self._steady, self._storm = Load(), Load()

    async def open(self) -> None:
        host, port = self._doors.http
        await self._steady.open([WebLane() for _ in range(_STEADY_LANES)], port, host)
        await self._storm.open([WebLane() for _ in range(_STORM_LANES)], port, host)

    def close(self) -> None:
        self._steady.close()
        self._storm.close()

    async def weather(self, found: Storm, seconds: float, turns: int) -> None:
        """Quiet and storm in turns, so that a busy moment of the machine falls on both."""
        await self._storm.flood(self._write("twitter", _WARM_UP))
        await self._steady.flood(self._write("form", _WARM_UP))
        quiet: list[_Wait] = []
        storm: list[_Wait] = []
        accepted: list[float] = []
        for _ in range(turns):
            await settle(self._store)
            quiet += await self._wait_times(seconds)
            posts = self._write("twitter", int(_POSTS_PER_S * seconds))
            begun = time.perf_counter()
            raging = asyncio.create_task(self._storm.pace(posts, _POSTS_PER_S))
            storm += await self._wait_times(seconds)
            answers = await raging
            accepted.append(len(answers) / (max(answer.done for answer in answers) - begun))
        found.quiet_ms, found.storm_ms = _by_channel(quiet), _by_channel(storm)
        found.accepted_per_s = sum(accepted) / len(accepted)
        await settle(self._store)  # or the audit would find some still on their way

    def _write(self, channel: str, count: int) -> list[Item]:
        return [item for message in write_mix([channel] * count, self._doors, ()) for item in message]

    async def _wait_times(self, seconds: float) -> list[_Wait]:
        """Of each form and of each request about a call."""
        forms = write_mix(["form"] * int(_FORMS_PER_S * seconds), self._doors, ())
        calls = write_mix(["phone"] * int(_CALLS_PER_S * seconds), self._doors, ())
        due = [(number / _FORMS_PER_S, item) for number, [item] in enumerate(forms)]
        due += [(number / _CALLS_PER_S, item) for number, parts in enumerate(calls) for item in parts]
        playing = asyncio.create_task(self._steady.play(sorted(due, key=lambda one: one[0])))
        return await self._until_visible(playing)

    async def _until_visible(self, playing: asyncio.Task[list[Answer]]) -> list[_Wait]:
        """Of every answer."""
        waits: list[_Wait] = []
        outstanding: dict[UUID, Answer] = {}
        heard = 0
        while outstanding or not playing.done():
            answers = playing.result() if playing.done() else self._steady.answers
            outstanding |= {UUID(answer.receipt): answer for answer in answers[heard:] if answer.receipt}
            heard = len(answers)
            for receipt in await self._store.read(_recorded, list(outstanding)):
                answer = outstanding.pop(receipt)
                waits.append(_Wait(answer.channel, answer.done - answer.due, time.perf_counter() - answer.done))
            await asyncio.sleep(_LOOK)
        return waits


def _by_channel(waits: Sequence[_Wait]) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for channel in sorted({wait.channel for wait in waits}):
        own = [wait for wait in waits if wait.channel == channel]
        accept = quantiles([wait.accepted for wait in own])
        whole = quantiles([wait.accepted + wait.visible for wait in own])
        found[channel] = quantiles([wait.visible for wait in own])
        found[channel] |= {"accept_p99": accept["p99"], "whole_p99": whole["p99"]}
    return found


def _recorded(conn: Connection, receipts: Sequence[UUID]) -> list[UUID]:
    column = t.receipts.c.receipt_id
    return list(conn.scalars(select(column).where(column.in_(receipts)))) if receipts else []
