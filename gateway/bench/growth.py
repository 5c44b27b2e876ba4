"""What recording costs once the desk has grown: the same batches on ten thousand tickets and on a million.

A thousand tickets are recorded as always. The rest are their twins, written by the database itself: every row again,
with other numbers, ids, people and Message-IDs, so that the indexes hold what a million tickets put into them. Half of
what is then recorded answers a message of one of the twins.
"""

from __future__ import annotations

import contextlib
import hashlib
import random
import statistics
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from sqlalchemy import Column, Connection, LargeBinary, String, Text, Uuid, func, make_url, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from adapters.base import Raw
from gateway.bench.bare import Catching
from gateway.bench.content import compose
from gateway.bench.processes import measure
from gateway.bench.report import Table
from gateway.intake import Intake
from gateway.runtime import Runtime
from gateway.store import tables as t
from gateway.store.engine import Store
from gateway.store.paging import Ask
from gateway.store.record import record
from gateway.store.tickets import newest_first, summarise
from gateway.store.timeline import timeline
from gateway.store.writing import next_ids
from gateway.worker.plan import Item
from normalizer.message import Tally, parse_wire

SEEDED: Final = 1_250  # mails recorded as always; every fifth is an answer, so these are 1,000 tickets
TICKETS: Final = 1_000
SMALLEST: Final = 10_000
_STRIDE: Final = 100_000  # between the numbers of twins
_BATCH: Final = 100
_BATCHES: Final = 20
_AT_ONCE: Final = 50  # twins made in one transaction
GROWING: Final = (
    t.customers,
    t.identities,
    t.tickets,
    t.comments,
    t.receipts,
    t.delivery_keys,
    t.thread_keys,
    t.participants,
    t.events,
)
_NAMED: Final = ("value", "identity", "author", "author_value", "key", "external_id")  # who and what: other for twins
_SHORTENED: Final = 200  # characters of a twin's text


@dataclass(frozen=True, slots=True)
class Grown:
    """Costs at one size. Microseconds a message, milliseconds a page."""

    tickets: int
    record_us: float
    worker_cpu_us: float
    database_cpu_us: float
    list_ms: float
    ticket_ms: float


async def measure_growth(
    runtime: Runtime, sizes: Sequence[int], database_pid: int | None, tell: Callable[[str], None]
) -> AsyncIterator[Grown]:
    """The costs at each size, smallest first. `runtime` has an empty store, which stays full."""
    intake = _Reading(runtime)
    seeds = await intake.read(SEEDED)
    await _record(runtime.store, seeds)
    ends = await runtime.store.read(next_ids, [table for table in GROWING if "id" in table.c])
    twins = 0
    for size in sorted(sizes):
        while (twins + 1) * TICKETS < size:
            more = min(_AT_ONCE, size // TICKETS - 1 - twins)
            await runtime.store.write(make_twins, ends, twins + 1, more)
            twins += more
            tell(f"  {(twins + 1) * TICKETS:,} tickets")
        await _tidy_up(runtime)
        yield await _measure(runtime, intake, twins, database_pid)


async def _measure(runtime: Runtime, intake: _Reading, twins: int, database_pid: int | None) -> Grown:
    fresh = await intake.read(_BATCH * _BATCHES, twins)
    await _record(runtime.store, fresh[:_BATCH])
    took, rng = [], random.Random(twins)  # noqa: S311  a repeatable choice
    cpu, served = time.process_time(), measure(database_pid).cpu if database_pid else 0.0
    for start in range(_BATCH, len(fresh), _BATCH):
        begun = time.perf_counter()
        await _record(runtime.store, fresh[start : start + _BATCH])
        took.append(time.perf_counter() - begun)
    cpu = time.process_time() - cpu
    served = measure(database_pid).cpu - served if database_pid else 0.0
    count = len(fresh) - _BATCH
    some = [rng.randrange(1, TICKETS) + rng.randrange(twins + 1) * _STRIDE for _ in range(20)]
    return Grown(
        tickets=await runtime.store.read(_count),
        record_us=statistics.median(took) / _BATCH * 1e6,
        worker_cpu_us=cpu / count * 1e6,
        database_cpu_us=served / count * 1e6,
        list_ms=await _time(runtime.store, [lambda conn: summarise(conn, newest_first(conn, Ask(50)))] * 20),
        ticket_ms=await _time(runtime.store, [partial(timeline, ticket_id=number, ask=Ask(50)) for number in some]),
    )


async def _time(store: Store, pages: Sequence[Callable[[Connection], Any]]) -> float:
    """Median milliseconds of a page."""
    took = []
    for page in pages:
        begun = time.perf_counter()
        await store.read(page)
        took.append(time.perf_counter() - begun)
    return statistics.median(took) * 1e3


async def _record(store: Store, items: Sequence[Item]) -> None:
    for start in range(0, len(items), _BATCH):
        await store.write(record, items[start : start + _BATCH], datetime.now(UTC))


class _Reading:
    """Mails as the worker gets them, without a queue between."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._seeds: list[tuple[str, str]] = []  # Message-ID and sender of what was recorded first

    async def read(self, count: int, twins: int | None = None) -> list[Item]:
        """So many mails; with `twins` every second answers a message of the first mails, or of one of their twins."""
        queue: Any = Catching()
        intake = Intake(queue, self._runtime.blobs, "bench")
        rng = random.Random(count)  # noqa: S311  a repeatable choice
        try:
            for number, item in enumerate(compose("mail", count)):
                sender, content = item.sender, item.content
                if twins is None:
                    self._seeds.append((item.name, item.sender))
                elif number % 2:
                    whose = rng.randrange(twins + 1)
                    name, sender = (twin(value, whose) for value in rng.choice(self._seeds))
                    content = _answering(content, item.sender, sender, name)
                facts = {"mail_from": sender, "rcpt_tos": ["support@localhost"]}
                await intake.accept(self._runtime.inboxes["support"], Raw(content, "message/rfc822", facts))
        finally:
            intake.close()
        read = (parse_wire(message.type, message.body) for message in queue.messages)
        return [item for item in read if not isinstance(item, Tally)]


def _answering(content: bytes, sender: str, other: str, name: str) -> bytes:
    head = f"In-Reply-To: <{name}>\r\n".encode() + content.replace(sender.encode(), other.encode())
    return head.replace(b"\r\nSubject: ", b"\r\nSubject: Re: ")


def twin(value: str, number: int) -> str:
    """An address or a Message-ID of the twin of this number; 0 is the message itself."""
    return value.replace("@", f"~{number}@") if number else value


def make_twins(conn: Connection, ends: Mapping[str, int], first: int, count: int) -> None:
    """Every row of the first thousand tickets again, `count` times. `ends`: the first number past them, by table."""
    numbers = f"WITH RECURSIVE n(number) AS (SELECT {first} UNION ALL SELECT number + 1 FROM n WHERE number < {{}})"  # noqa: S608
    if conn.dialect.name == "sqlite":
        driver: Any = conn.connection.driver_connection
        driver.create_function("twin_id", 2, _twin_id, deterministic=True)
    for table in GROWING:
        names = ", ".join(column.name for column in table.c)
        values = ", ".join(_twinned(column, conn.dialect.name) for column in table.c)
        # Only names and numbers of our own go into these statements.
        recorded = f"SELECT receipt_id FROM comments WHERE id < {ends['comments']}"  # noqa: S608
        which = f"id < {ends[table.name]}" if "id" in table.c else f"receipt_id IN ({recorded})"
        originals = f"(SELECT * FROM {table.name} WHERE {which}) AS o"  # noqa: S608
        chosen = f"SELECT {values} FROM {originals} CROSS JOIN n AS twin"  # noqa: S608
        conn.execute(text(f"INSERT INTO {table.name} ({names}) {numbers.format(first + count - 1)} {chosen}"))


def _twinned(column: Column[Any], dialect: str) -> str:
    name, shift = f"o.{column.name}", f"twin.number * {_STRIDE}"
    if isinstance(column.type, Uuid):
        return f"md5({name}::text || twin.number)::uuid" if dialect == "postgresql" else f"twin_id({name}, twin.number)"
    if column.name == "id" or (column.name.endswith("_id") and not isinstance(column.type, String)):
        return f"{name} + {shift}"
    if column.name == "sequence":
        return f"{name} + {shift}"
    if column.name in _NAMED:
        marked = f"replace({name}, '@', '~' || twin.number || '@')"
        return f"CASE WHEN {name} LIKE '%@%' THEN {marked} ELSE {_other(column, name)} END"
    if isinstance(column.type, LargeBinary):
        return "NULL"
    if isinstance(column.type, Text):
        return f"substr({name}, 1, {_SHORTENED})"
    return name


def _other(column: Column[Any], name: str) -> str:
    """A value without an address in it: a hash, or nothing at all."""
    length = getattr(column.type, "length", None) or 0
    marked = f"twin.number || '~' || {name}"
    return f"CASE WHEN {name} = '' THEN '' ELSE " + (f"substr({marked}, 1, {length})" if length else marked) + " END"


def _twin_id(value: str | None, number: int) -> str | None:
    return None if value is None else hashlib.md5(f"{value}{number}".encode(), usedforsecurity=False).hexdigest()


async def _tidy_up(runtime: Runtime) -> None:
    """A database that grew over years has been cleaned and has its pages on the disk; so has this one then."""
    url = make_url(runtime.settings.database_url)
    if url.get_backend_name() == "sqlite":
        await runtime.store.write(lambda conn: conn.execute(text("ANALYZE")))
        return
    # Without the desk's deadlines, which are for statements of people and messages.
    engine = create_async_engine(url.set(drivername="postgresql+asyncpg"), isolation_level="AUTOCOMMIT")
    try:
        async with engine.connect() as conn:
            await conn.execute(text(f"VACUUM (ANALYZE) {', '.join(table.name for table in GROWING)}"))
            with contextlib.suppress(DBAPIError):  # who owns a database may not have that right; the figures tell
                await conn.execute(text("CHECKPOINT"))
    finally:
        await engine.dispose()


def _count(conn: Connection) -> int:
    return conn.scalar(select(func.count()).select_from(t.tickets)) or 0


def grown(stack: str, costs: Sequence[Grown]) -> Table:
    """The costs side by side, for people."""
    head = (stack, "record us/message", "of it worker CPU", "database CPU", "newest 50 tickets", "one ticket")
    rows = [
        (
            f"{cost.tickets:,} tickets",
            *(f"{value:,.0f}" for value in (cost.record_us, cost.worker_cpu_us, cost.database_cpu_us)),
            *(f"{value:.1f} ms" for value in (cost.list_ms, cost.ticket_ms)),
        )
        for cost in costs
    ]
    return Table(head, rows)


def sizes_up_to(tickets: int) -> list[int]:
    """Ten thousand, and each ten times as many, up to `tickets`."""
    sizes = [SMALLEST]
    while sizes[-1] * 10 < tickets:
        sizes.append(sizes[-1] * 10)
    return [*sizes, tickets] if tickets > SMALLEST else sizes
