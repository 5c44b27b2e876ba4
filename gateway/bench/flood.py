"""Hostile mail on one channel, and what the customers of another one notice of it.

One desk, as `frontdesk up` runs it. First every hostile mail alone: how long until it is accepted, how much memory that
takes, what becomes of it. Then form posts at a modest rate, in turns with and without hostile mails coming in by SMTP
at 20 a second: how much longer do the posts take to be accepted? A bare door beside the desk (`bare_door`) tells what
the machine does meanwhile to everybody.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, select

from gateway.bench import hostile, letters
from gateway.bench.bare_door import REQUEST, open_door
from gateway.bench.client import Answer, BenchError, FormLane, Load, MailLane, WebLane
from gateway.bench.content import Item, compose
from gateway.bench.desk import accounted, quantiles, settings_of, settle
from gateway.bench.processes import forget_peak, free_port, resident
from gateway.commands.output import print_json, print_line
from gateway.precedence import give_way
from gateway.store import tables as t
from gateway.store.engine import Store

_MEMBERS: Final[Mapping[str, str]] = {"up": "up"}
_FORM_LANES: Final = 32
_MAIL_LANES: Final = 20
_FORMS_PER_S: Final = 50.0
_HOSTILE_PER_S: Final = 20.0
_SECONDS: Final = 6.0  # of each turn
_TURNS: Final = 7  # quiet and flooded, so often in turns: a busy moment of the machine falls on one
_WARM_UP: Final = 100
_PROGRAM: Final = "import sys; from gateway.bench.flood import attack; attack(*map(int, sys.argv[1:]))"
_PATIENCE: Final = 60.0
_NICE: Final = 10

_Turn = tuple[dict[str, float], dict[str, float]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """One hostile mail alone: seconds until it was accepted and until its receipt had an outcome, bytes it took."""

    name: str
    accept_s: float
    outcome_s: float
    extra_bytes: int
    outcome: str


@dataclass(slots=True)
class Flood:
    """Milliseconds until a form post was accepted, quiet and under the flood: the medians of the turns; the same of the
    bare door."""

    mails: list[Outcome] = field(default_factory=list)
    hostile_per_s: float = _HOSTILE_PER_S
    forms_per_s: float = _FORMS_PER_S
    quiet_ms: dict[str, float] = field(default_factory=dict)
    flooded_ms: dict[str, float] = field(default_factory=dict)
    bare_quiet_ms: dict[str, float] = field(default_factory=dict)
    bare_flooded_ms: dict[str, float] = field(default_factory=dict)
    hostile_ms: dict[str, float] = field(default_factory=dict)
    extra_bytes: int = 0
    audit: str = ""
    balanced: bool = False

    @property
    def ratio(self) -> float:
        """How many times longer the slowest hundredth of the posts takes."""
        return self.flooded_ms["p99"] / self.quiet_ms["p99"]

    @property
    def bare_ratio(self) -> float:
        """The same of the bare door."""
        return self.bare_flooded_ms["p99"] / self.bare_quiet_ms["p99"]

    def as_dict(self) -> dict[str, Any]:
        """For a program."""
        return asdict(self) | {"ratio": self.ratio, "bare_ratio": self.bare_ratio}


async def measure_flood(
    folder: Path, *, members: Mapping[str, str] = _MEMBERS, seconds: float = _SECONDS, turns: int = _TURNS
) -> Flood:
    """Start a desk, send it everything, account for everything."""
    http, smtp = free_port(), free_port()
    environment = settings_of("embedded:", f"sqlite:///{folder / 'frontdesk.db'}", folder, http, smtp)
    found = Flood()
    async with (
        accounted(found, members, environment, folder, (http, smtp)) as ((desk, *_), store),
        open_door(folder) as bare,
    ):
        forms, mails, least = Load(), Load(), Load()
        await forms.open([FormLane("contact") for _ in range(_FORM_LANES)], http)
        await least.open([WebLane() for _ in range(_FORM_LANES)], bare)
        await mails.open([MailLane("support@localhost") for _ in range(_MAIL_LANES)], smtp)
        try:
            await forms.flood(compose("form", _WARM_UP))
            await least.flood([REQUEST] * _WARM_UP)
            await mails.flood([*compose("mail", _WARM_UP), _bulky()])
            attacks = [_item(name, "alone") for name in hostile.mails()]
            before = resident(desk.pid).now
            found.mails = [await _alone(item, mails, desk.pid, store) for item in attacks]
            await _in_turns(found, (forms, least), smtp, store, seconds, turns)
            found.extra_bytes = resident(desk.pid).peak - before
        finally:
            for load in (forms, mails, least):
                load.close()
    return found


async def _alone(item: Item, mails: Load, pid: int, store: Store) -> Outcome:
    """One mail, with nothing else going on."""
    forget_peak(pid)
    before = resident(pid).now
    begun = time.perf_counter()
    (answer,) = await mails.flood([item])
    outcome = await _outcome(store, answer.receipt)
    ended = time.perf_counter()
    return Outcome(item.name, answer.done - begun, ended - begun, resident(pid).peak - before, outcome)


async def _outcome(store: Store, receipt: str) -> str:
    """What became of a receipt, once something has."""
    deadline = time.perf_counter() + _PATIENCE
    while (found := await store.read(_read_outcome, receipt)) is None:
        if time.perf_counter() > deadline:
            raise BenchError(f"receipt {receipt} has no outcome after {_PATIENCE:.0f} s")
        await asyncio.sleep(0.005)
    return found


def _read_outcome(conn: Connection, receipt: str) -> str | None:
    columns = t.receipts.c
    return conn.scalar(select(columns.outcome).where(columns.receipt_id == UUID(receipt)))


async def _in_turns(
    found: Flood, loads: tuple[Load, Load], smtp: int, store: Store, seconds: float, turns: int
) -> None:
    quiet: list[_Turn] = []
    flooded: list[_Turn] = []
    attacks: list[float] = []
    count = int(_HOSTILE_PER_S * seconds)
    for turn in range(turns):
        await settle(store)  # what the last turn left to do is not the next one's
        quiet.append(await _take_turn(loads, seconds))
        attacker = await _Attacker.start(smtp, turn * count, count)
        attacker.begin()
        flooded.append(await _take_turn(loads, seconds))
        attacks += await attacker.end()
    found.quiet_ms, found.bare_quiet_ms = map(_usual, zip(*quiet, strict=True))
    found.flooded_ms, found.bare_flooded_ms = map(_usual, zip(*flooded, strict=True))
    found.hostile_ms = quantiles(attacks)


async def _take_turn(loads: tuple[Load, Load], seconds: float) -> _Turn:
    """Milliseconds of the form and of the bare door, at the same rate and each between two of the other."""
    forms, least = loads
    beat, posts = 1 / _FORMS_PER_S, compose("form", int(_FORMS_PER_S * seconds))
    mine, others = await asyncio.gather(
        forms.play([(place * beat, post) for place, post in enumerate(posts)]),
        least.play([((place + 0.5) * beat, REQUEST) for place in range(len(posts))]),
    )
    return quantiles(_waits(mine)), quantiles(_waits(others))


def _usual(turns: Sequence[dict[str, float]]) -> dict[str, float]:
    """The median of the turns: one in which the machine's disk stood still says nothing of the desk."""
    return {name: median(turn[name] for turn in turns) for name in turns[0]}


class _Attacker:
    """Who sends the hostile mails: another process, or writing a mail of megabytes would delay our own form posts."""

    def __init__(self, child: asyncio.subprocess.Process) -> None:
        assert child.stdin is not None  # noqa: S101  pipes were asked for
        assert child.stdout is not None  # noqa: S101
        self._child, self._asking, self._telling = child, child.stdin, child.stdout

    @classmethod
    async def start(cls, smtp: int, first: int, count: int) -> _Attacker:
        """Connected, and ready to send the hostile mails from number `first`."""
        words = ("-c", _PROGRAM, str(smtp), str(first), str(count))
        pipe = asyncio.subprocess.PIPE
        child = await asyncio.create_subprocess_exec(
            sys.executable, *words, stdin=pipe, stdout=pipe, start_new_session=True
        )
        attacker = cls(child)
        if not await attacker._telling.readline():
            raise BenchError(f"who was to send hostile mails ended with {await child.wait()}")
        return attacker

    def begin(self) -> None:
        """Now."""
        self._asking.write(b"\n")

    async def end(self) -> list[float]:
        """Seconds until each was accepted."""
        told = await self._telling.read()
        if await self._child.wait():
            raise BenchError("a hostile mail was not accepted")
        return [float(seconds) for seconds in json.loads(told)]


def attack(smtp: int, first: int, count: int) -> None:
    """The other process, which does not take the desk's processors: a stranger has their own."""
    give_way(_NICE)
    asyncio.run(_attack(smtp, first, count))


async def _attack(smtp: int, first: int, count: int) -> None:
    names = list(islice(cycle(hostile.mails()), first, first + count))
    items = [_item(name, f"{first + number}") for number, name in enumerate(names)]
    mails = Load()
    await mails.open([MailLane("support@localhost") for _ in range(_MAIL_LANES)], smtp)
    print_line("")  # ready
    sys.stdout.flush()
    sys.stdin.readline()
    waited = _waits(await mails.pace(items, _HOSTILE_PER_S))
    mails.close()
    print_json(waited)


def _waits(answers: Sequence[Answer]) -> list[float]:
    """Seconds, as whoever sent them counts."""
    return [answer.done - answer.due for answer in answers]


def _bulky() -> Item:
    """A mail that is read by the child that reads what takes long: it is started by the first of them."""
    body = letters.HEAD + b"\n" + b"It has not arrived yet, and I am waiting for it.\n" * 2_000
    return Item("bulky", "anna@customer.example", body.replace(b"\n", b"\r\n"))


def _item(name: str, mark: str) -> Item:
    """A hostile mail as it goes over the wire, with an id nobody has used, so that it is no duplicate."""
    content = hostile.mails()[name]
    number = list(hostile.mails()).index(name)
    own = f"Message-ID: <{mark}.{number}@bench.example>\r\n".encode() if content else b""
    wire = own + content
    return Item(name, "anna@customer.example", wire if wire.endswith(b"\r\n") else wire + b"\r\n")
