"""Writing many rows at once, the same on both databases."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

from pydantic_core import to_json
from sqlalchemy import JSON, Column, Connection, Insert, Select, Table, func, insert, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.util import await_only

from gateway.store import tables as t

Rows = list[dict[str, Any]]


def next_ids(conn: Connection, numbered: Iterable[Table]) -> dict[str, int]:
    """The next free number of each table, valid while the ledger lock is held; one statement, index-only."""
    names = tuple(table.name for table in numbered)
    row = conn.execute(_highest(names)).one()
    return {name: value + 1 for name, value in zip(names, row, strict=True)}


@cache
def _highest(names: tuple[str, ...]) -> Select[Any]:
    ids = (t.metadata.tables[name].c.id for name in names)
    return select(*(select(func.coalesce(func.max(number), 0)).scalar_subquery() for number in ids))


def insert_all(conn: Connection, table: Table, rows: Rows) -> None:
    """Insert rows that are known to be new: one COPY on PostgreSQL, whose cost is a statement's, not a row's."""
    if not rows:
        return
    if conn.dialect.name == "postgresql":
        _copy(conn, table, rows)
    else:
        conn.execute(_insert(table.name), rows)


def _copy(conn: Connection, table: Table, rows: Rows) -> None:
    """PostgreSQL's binary COPY through asyncpg, inside the transaction that SQLAlchemy has begun."""
    columns = [column for column in table.c if column.name in rows[0] or column.default is not None]
    records = zip(*(_values(column, rows) for column in columns), strict=True)
    driver: Any = conn.connection.driver_connection  # an asyncpg.Connection
    try:
        await_only(driver.copy_records_to_table(table.name, records=records, columns=[item.name for item in columns]))
    except Exception as error:
        if getattr(error, "sqlstate", None) is None:
            raise
        # Raised by asyncpg itself: give it the shape every other database error has.
        raise DBAPIError(f"COPY {table.name}", None, error) from error


def _values(column: Column[Any], rows: Rows) -> list[Any]:
    """A column of the rows as the driver takes it; what a row leaves out is the column's default."""
    name = column.name
    default: Any = getattr(column.default, "arg", None)
    made: Callable[[], Any] = (lambda: default(None)) if callable(default) else (lambda: default)
    values = [row[name] if name in row else made() for row in rows]
    if isinstance(column.type, JSON):
        return [None if value is None else to_json(value).decode() for value in values]
    return values


def insert_new(conn: Connection, table: Table, rows: Rows) -> None:
    """Insert what is not there yet."""
    if rows:
        conn.execute(_insert_new(table.name, conn.dialect.name), rows)


@cache
def _insert(name: str) -> Insert:
    return insert(t.metadata.tables[name])


@cache
def _insert_new(name: str, dialect: str) -> Insert:
    table = t.metadata.tables[name]
    made = postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)
    return made.on_conflict_do_nothing()


def upsert(conn: Connection, table: Table) -> postgresql.Insert | sqlite.Insert:
    return postgresql.insert(table) if conn.dialect.name == "postgresql" else sqlite.insert(table)
