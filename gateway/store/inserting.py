"""Writing many rows at once, the same on both databases."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, Table, func, insert, select
from sqlalchemy.dialects import postgresql, sqlite

from gateway.store import tables as t

Rows = list[dict[str, Any]]


def next_ids(conn: Connection, numbered: Iterable[Table]) -> dict[str, int]:
    """The next free number of each table, valid while the ledger lock is held; one statement, index-only."""
    names = [table.name for table in numbered]
    highest = [select(func.coalesce(func.max(t.metadata.tables[name].c.id), 0)).scalar_subquery() for name in names]
    row = conn.execute(select(*highest)).one()
    return {name: value + 1 for name, value in zip(names, row, strict=True)}


def insert_all(conn: Connection, table: Table, rows: Rows) -> None:
    if rows:
        conn.execute(insert(table), rows)


def insert_new(conn: Connection, table: Table, rows: Rows) -> None:
    """Insert what is not there yet."""
    if rows:
        conn.execute(upsert(conn, table).on_conflict_do_nothing(), rows)


def upsert(conn: Connection, table: Table) -> postgresql.Insert | sqlite.Insert:
    return postgresql.insert(table) if conn.dialect.name == "postgresql" else sqlite.insert(table)
