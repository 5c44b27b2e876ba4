"""A statement's cost does not grow with the desk: each finds its rows by an index, on both databases.

Every statement that recording and the pages of API and console send is caught and explained. On PostgreSQL sequential
scans are forbidden while explaining, so one that remains has no index it could use.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest import mock

import asyncpg
import pytest
from sqlalchemy import Connection, event, select

from gateway.bench.growth import GROWING as GROWN
from gateway.bench.growth import make_twins
from gateway.store import comments, cursors, customers, events, overdue, receipts, suspended, tickets, timeline
from gateway.store import tables as t
from gateway.store.claims import suggestions
from gateway.store.engine import Store, lock_ledger
from gateway.store.known import load_known
from gateway.store.paging import Ask
from gateway.store.record import GROWING, record
from gateway.store.writing import change_all, next_ids
from gateway.worker.clues import read_clues
from normalizer.message import Message
from tests.simulation.desk import read
from tests.simulation.month import simulate

NOW = datetime(2026, 9, 1, tzinfo=UTC)
_NO_TABLE = re.compile(r"SCAN (json_each|CONSTANT ROW|\(subquery|anon_)")


@dataclass(slots=True)
class Explained:
    """A statement and the tables it reads whole."""

    statement: str
    scans: list[str] = field(default_factory=list)


@contextmanager
def caught(conn: Connection) -> Iterator[list[tuple[str, Any]]]:
    """Every statement sent while this is open, once, with parameters it was sent with."""
    found: dict[str, Any] = {}

    def keep(_conn: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, many: bool) -> None:
        found.setdefault(statement, parameters[0] if many else parameters)

    async def execute(driver: asyncpg.Connection, statement: str, *parameters: Any, **options: Any) -> str:
        if parameters:  # what goes past SQLAlchemy
            found.setdefault(statement, parameters)
        return str(await past(driver, statement, *parameters, **options))

    past = asyncpg.Connection.execute
    event.listen(conn, "before_cursor_execute", keep)
    sent: list[tuple[str, Any]] = []
    try:
        with mock.patch.object(asyncpg.Connection, "execute", execute):
            yield sent
    finally:
        event.remove(conn, "before_cursor_execute", keep)
        sent += found.items()


def explain(conn: Connection, statement: str, parameters: Any) -> Explained:
    """Which tables the database would read from end to end."""
    explained = Explained(statement)
    if not statement.lstrip().upper().startswith(("SELECT", "UPDATE", "DELETE", "WITH")):
        return explained
    if conn.dialect.name == "sqlite":
        plan = [row.detail for row in conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)]
        in_order = "LIMIT ?" in statement and not any("TEMP B-TREE FOR ORDER BY" in line for line in plan)
        scans = [line for line in plan if line.startswith("SCAN") and not _NO_TABLE.match(line)]
        explained.scans += [] if in_order else scans
        return explained
    conn.exec_driver_sql("SET LOCAL enable_seqscan = off")
    answer = conn.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", parameters).scalar_one()
    plan = json.loads(answer) if isinstance(answer, str) else answer
    empty = set(conn.exec_driver_sql("SELECT relname FROM pg_class WHERE relkind = 'r' AND relpages = 0").scalars())
    explained.scans += [scan for scan in _scans(plan[0]["Plan"], bounded=False) if scan.split()[-1] not in empty]
    return explained


def _scans(node: dict[str, Any], *, bounded: bool) -> Iterator[str]:
    """Scans of whole tables or whole indexes; one below a LIMIT ends when it has found enough."""
    bounded = bounded or node["Node Type"] == "Limit"
    kind = node["Node Type"]
    sifting = "SubPlan" in node.get("Filter", "")  # what is looked for may stand at the far end
    if kind == "Seq Scan" or (kind.startswith("Index") and "Index Cond" not in node and (sifting or not bounded)):
        yield f"{kind} of {node.get('Relation Name')}"
    for child in node.get("Plans", ()):
        yield from _scans(child, bounded=bounded and kind not in ("Sort", "Aggregate", "Hash"))


@pytest.fixture
async def desk(store: Store) -> AsyncIterator[Store]:
    """Some hundred messages of every channel, with replies, duplicates and calls told in pieces."""
    items = read(simulate(300, seed=5))
    for start in range(0, len(items), 100):
        await store.write(record, items[start : start + 100], NOW)
    await store.write(pretend_to_be_large)
    yield store


def pretend_to_be_large(conn: Connection) -> None:
    """Let PostgreSQL's planner believe in ten million rows a table; SQLite's prefers indexes anyway."""
    if conn.dialect.name == "postgresql":
        conn.exec_driver_sql("ANALYZE")
        conn.exec_driver_sql("UPDATE pg_class SET reltuples = 1e7 WHERE relnamespace = 'public'::regnamespace")


async def test_recording(desk: Store) -> None:
    """The same messages again, under new receipts or from the same people, ask everything recording can ask."""
    items = read(simulate(300, seed=5))
    fresh = read(simulate(300, seed=6))

    def run(conn: Connection) -> list[Explained]:
        with caught(conn) as sent:
            load_known(conn, items, [read_clues(item) for item in items if isinstance(item, Message)])
            record(conn, fresh[::2], NOW)  # so that calls are told in pieces
            record(conn, fresh[1::2], NOW)
        return [explain(conn, *one) for one in sent]

    explained = await desk.write(run)
    for change in ("UPDATE tickets SET subject", "UPDATE comments SET author_id"):
        assert [one for one in explained if change in one.statement]
    assert {one.statement: one.scans for one in explained if one.scans} == {}


@pytest.mark.parametrize("store_url", [pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True)
async def test_recording_on_a_young_database(store: Store) -> None:
    """PostgreSQL keeps the plan that it made while tables were empty, and gathers its first statistics a minute later.
    A desk that opens to a rush of customers must not read all of them for each. SQLite plans without statistics."""
    items = [item for item in read(simulate(300, seed=5)) if item.channel == "form"]
    for start in range(0, len(items), 10):
        await store.write(record, items[start : start + 10], NOW)
    ends = await store.read(next_ids, [table for table in GROWN if "id" in table.c])
    await store.write(make_twins, ends, 1, 20)
    fresh = [item for item in read(simulate(300, seed=6)) if item.channel == "form"][:100]

    def run(conn: Connection) -> dict[str, int]:
        record(conn, fresh, NOW)
        return {row.relname: row.read for row in conn.exec_driver_sql(_ROWS_READ)}

    read_rows = await store.write(run)
    assert read_rows["identities"] > 0
    # Of identities alone: plans of foreign keys may date from the twins, which were made without the lock's settings.
    assert read_rows["identities"] <= 10 * len(fresh)


@pytest.mark.parametrize("store_url", [pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True)
async def test_changes_on_a_young_database(store: Store) -> None:
    """The same of a statement that changes what it is given: one look-up for each row, however many there are."""
    [item] = [item for item in read(simulate(300, seed=5)) if item.channel == "form"][:1]
    await store.write(record, [item], NOW)
    changed = [{"id": 1, "count": 0, "waits": None, "first": NOW, "last": NOW}]

    def change(conn: Connection) -> int:
        lock_ledger(conn)
        before = _tickets_read(conn)
        change_all(conn, GROWING, changed)
        return _tickets_read(conn) - before

    for _ in range(10):  # from the sixth time on the plan is kept (PostgreSQL's manual, PREPARE)
        await store.write(change)
    ends = await store.read(next_ids, [table for table in GROWN if "id" in table.c])
    await store.write(make_twins, ends, 1, 100)
    assert 1 <= await store.write(change) <= 5


def _tickets_read(conn: Connection) -> int:
    return sum(row.read for row in conn.exec_driver_sql(_ROWS_READ) if row.relname == "tickets")


_ROWS_READ = """
    SELECT relname, coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0) AS read FROM pg_stat_xact_user_tables
"""  # within this transaction


ASK = Ask(25)
PAGES: dict[str, Callable[[Connection], Any]] = {
    "tickets": lambda conn: tickets.page_tickets(conn, ASK),
    "tickets by update": lambda conn: tickets.page_tickets(conn, ASK, "-updated_at"),
    "what changed": lambda conn: tickets.changed_tickets(conn, ASK, NOW),
    "the console's list": lambda conn: tickets.summarise(conn, tickets.newest_first(conn, ASK)),
    "a channel of it": lambda conn: tickets.newest_first(conn, ASK, "email"),
    "who waits": lambda conn: tickets.newest_first(conn, ASK, "", True),
    "a ticket": lambda conn: timeline.timeline(conn, 1, ASK),
    "its comments": lambda conn: comments.page_comments(conn, [1], ASK),
    "its events": lambda conn: events.page_events(conn, 1, ASK),
    "a merged ticket": lambda conn: (tickets.survivor(conn, 3), tickets.family(conn, 3)),
    "a customer": lambda conn: customers.get_customer(conn, 1),
    "their tickets": lambda conn: tickets.requested_tickets(conn, 1, ASK),
    "who they may be": lambda conn: suggestions(conn, 1),
    "their earlier tickets": lambda conn: timeline.earlier_tickets(conn, 1, [1]),
    "users": lambda conn: customers.page_customers(conn, ASK),
    "a receipt": lambda conn: receipts.get_receipt(conn, conn.scalars(select(t.receipts.c.receipt_id).limit(1)).one()),
    "suspended": lambda conn: suspended.page_suspended(conn, ASK, descending=True),
    "dead letters": lambda conn: suspended.page_dead_letters(conn, ASK),
    "chat history": lambda conn: comments.chat_history(conn, "chat:1"),
    "export": lambda conn: comments.export(conn, 0),
    "a poller's cursor": lambda conn: cursors.read_cursor(conn, "twitter"),
    "calls nobody finished": lambda conn: overdue.overdue_stories(conn, NOW + timedelta(days=1)),
}


async def test_pages(desk: Store) -> None:
    def run(conn: Connection, show: Callable[[Connection], Any]) -> list[Explained]:
        with caught(conn) as sent:
            show(conn)
        return [explain(conn, *one) for one in sent]

    explained = {page: await desk.read(run, show) for page, show in PAGES.items()}
    assert all(explained.values())
    scans = {(page, one.statement): one.scans for page, found in explained.items() for one in found if one.scans}
    assert scans == {}


@pytest.mark.postgres
@pytest.mark.parametrize("store_url", ["postgres"], indirect=True)
async def test_nothing_is_compiled(store: Store) -> None:
    """What has no index looks so dear under the lock that PostgreSQL would compile for 0.15 s, to read ten rows."""

    def plan(conn: Connection) -> list[str]:
        lock_ledger(conn)
        return list(conn.exec_driver_sql("EXPLAIN (ANALYZE) SELECT id FROM customers WHERE name = 'x'").scalars())

    lines = await store.read(plan)
    assert any("Seq Scan on customers" in line for line in lines)
    assert not any("JIT" in line for line in lines)
