"""A running desk under a chosen load: progress, rates, latencies, what each process used, and the audit."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from sqlalchemy import Connection, func, select

from gateway.bench.client import Answer, BenchError, Lane, Load, MailLane, WebLane
from gateway.bench.content import Item
from gateway.bench.desk import quantiles
from gateway.bench.doors import Doors
from gateway.bench.processes import Usage, measure_all, measure_self
from gateway.store import tables as t
from gateway.store.engine import Store

_WEB_LANES: Final = 64
_MAIL_LANES: Final = 32
_LOOK: Final = 0.01  # seconds between two looks at what has become visible
_COUNT: Final = 0.2  # and between two counts of the receipts
_TELL: Final = 2.0  # seconds between two lines of progress
_DRAIN_SECONDS: Final = 300.0

Tell = Callable[[str], None]


@dataclass(slots=True)
class Driven:
    """What became of one load. Rates a second; times in milliseconds; bytes."""

    what: str
    messages: int
    deliveries: int
    channels: dict[str, int] = field(default_factory=dict)
    asked_per_s: float = 0.0  # 0: as fast as it was answered
    seconds: float = 0.0  # until the last was recorded
    accepted_per_s: float = 0.0
    ticketed_per_s: float = 0.0
    accept_ms: dict[str, float] = field(default_factory=dict)
    visible_ms: dict[str, float] = field(default_factory=dict)  # of what told its receipt: forms, chats, mails
    cpu_s: dict[str, float] = field(default_factory=dict)
    peak_bytes: dict[str, int] = field(default_factory=dict)
    audit: str = ""
    balanced: bool = False
    stack: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For a program."""
        return asdict(self)


class Drive:
    """One load on one desk. `watched`: process name -> id, those that run on this machine."""

    def __init__(self, doors: Doors, store: Store, watched: Mapping[str, int], tell: Tell) -> None:
        self._doors, self._store, self._watched, self._tell = doors, store, watched, tell
        self._web, self._mail = Load(), Load()
        self._seen: dict[str, float] = {}  # receipt -> when its comment could be read by somebody else

    async def open(self) -> None:
        """Connect. Raises BenchError with the door that is closed."""
        gateways = ((self._doors.http, self._doors.smtp), *self._doors.beside)
        for number, (web, mail) in enumerate(gateways):
            # As many lanes in all, however many gateways there are.
            await _connect(self._web, [WebLane() for _ in _share(_WEB_LANES, number, len(gateways))], web)
            lanes = [MailLane(self._doors.mailbox) for _ in _share(_MAIL_LANES, number, len(gateways))]
            await _connect(self._mail, lanes, mail)

    def close(self) -> None:
        """Hang up."""
        self._web.close()
        self._mail.close()

    async def visitors(self, count: int) -> list[bytes]:
        """The answers to so many chat sessions opened."""
        return await self._web.ask([self._doors.visitor() for _ in range(count)])

    async def run(self, what: str, messages: Sequence[Sequence[Item]], rate: float) -> Driven:
        """Send `messages`, at so many a second or as fast as they are taken (0), and wait until all are recorded."""
        before, counted = self._measure(), await self._store.read(_receipts)
        sent = [(number / rate if rate else 0.0, item) for number, parts in enumerate(messages) for item in parts]
        watching = asyncio.create_task(self._watch(await self._store.read(_newest))) if rate else None
        telling = asyncio.create_task(self._progress(len(sent), counted, self._heard()))
        begun = time.perf_counter()
        try:
            answers = await self._send(sent, paced=rate > 0)
            accepted = max(answer.done for answer in answers) - begun
            await self._recorded(counted + sum(answer.receipts for answer in answers))
            took = time.perf_counter() - begun
            seen = await self._look_again(answers) if watching else {}
        finally:
            for task in (telling, watching):
                if task is not None:
                    task.cancel()
        after = self._measure()
        return Driven(
            what,
            len(messages),
            len(sent),
            dict(Counter(answer.channel for answer in answers)),
            rate,
            took,
            len(sent) / accepted,
            len(sent) / took,
            quantiles([answer.done - answer.due for answer in answers]),
            quantiles([max(0.0, seen[a.receipt] - a.done) for a in answers if a.receipt in seen]) if seen else {},
            {name: after[name].cpu - before[name].cpu for name in after},
            {name: usage.peak for name, usage in after.items()},
        )

    async def _send(self, sent: Sequence[tuple[float, Item]], *, paced: bool) -> list[Answer]:
        halves = []
        for load, by_mail in ((self._web, False), (self._mail, True)):
            own = [(due, item) for due, item in sent if (item.channel == "email") is by_mail]
            if own:
                halves.append(load.play(own) if paced else load.flood([item for _, item in own]))
        return [answer for answers in await asyncio.gather(*halves) for answer in answers]

    async def _recorded(self, wanted: int) -> None:
        deadline = time.perf_counter() + _DRAIN_SECONDS
        while (count := await self._store.read(_receipts)) < wanted:
            if time.perf_counter() > deadline:
                raise BenchError(f"{wanted - count} deliveries are not recorded after {_DRAIN_SECONDS:.0f} s")
            await asyncio.sleep(_COUNT)

    async def _progress(self, total: int, counted: int, heard: int) -> None:
        while True:
            await asyncio.sleep(_TELL)
            recorded = await self._store.read(_receipts) - counted
            self._tell(f"  {self._heard() - heard:,} of {total:,} accepted, {recorded:,} recorded")

    def _heard(self) -> int:
        return self._web.heard + self._mail.heard

    async def _watch(self, after: int) -> None:
        """Fill `_seen`, to `_LOOK` seconds; ends when cancelled."""
        while True:
            rows = await self._store.read(_since, after)
            now = time.perf_counter()
            for number, receipt in rows:
                self._seen[str(receipt)] = now
                after = max(after, number)
            await asyncio.sleep(_LOOK)

    async def _look_again(self, answers: Sequence[Answer]) -> dict[str, float]:
        """A little later: the watcher may not have looked since the last one was recorded."""
        wanted = {answer.receipt for answer in answers if answer.receipt}
        for _ in range(100):
            if wanted <= self._seen.keys():
                break
            await asyncio.sleep(_LOOK)
        return self._seen

    def _measure(self) -> dict[str, Usage]:
        return measure_all(self._watched) | {"(bench client)": measure_self()}


async def _connect(load: Load, lanes: Sequence[Lane], place: tuple[str, int]) -> None:
    host, port = place
    try:
        await load.open(lanes, port, host)
    except (OSError, TimeoutError) as error:
        raise BenchError(f"nothing answers at {host}:{port}: {error or 'timed out'}") from None


def _share(lanes: int, number: int, gateways: int) -> range:
    return range(number, lanes, gateways)


def _receipts(conn: Connection) -> int:
    return conn.scalar(select(func.count()).select_from(t.receipts)) or 0


def _newest(conn: Connection) -> int:
    return conn.scalar(select(func.coalesce(func.max(t.comments.c.id), 0))) or 0


def _since(conn: Connection, after: int) -> list[tuple[int, Any]]:
    columns = t.comments.c
    rows = conn.execute(select(columns.id, columns.receipt_id).where(columns.id > after).order_by(columns.id))
    return [(row.id, row.receipt_id) for row in rows]
