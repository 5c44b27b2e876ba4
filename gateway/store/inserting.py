"""Writing many rows at once, the same on both databases."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache, lru_cache
from typing import Any

from pydantic_core import to_json
from sqlalchemy import Column, Connection, Dialect, Insert, LargeBinary, Select, Table, func, insert, select
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
    """Insert rows that are known to be new."""
    inserts = Inserts(conn)
    inserts.add(table, rows)
    inserts.write()


class Inserts:
    """Rows of several tables that are written together.

    On PostgreSQL they are one statement that gets each table's rows as one JSON document. A COPY of each table takes
    two round trips, and either side spends more on those than on the rows; as arrays, asyncpg examines every value.
    References between the rows are checked once all are there.
    """

    def __init__(self, conn: Connection) -> None:
        self._conn = conn
        self._rows: dict[str, Rows] = {}
        self._doubtful: set[str] = set()

    def add(self, table: Table, rows: Rows, *, doubtful: bool = False) -> None:
        """To a table, rows of the same columns each time. `doubtful`: some may be there, and stay as they are."""
        if rows:
            self._rows.setdefault(table.name, []).extend(rows)
        if doubtful:
            self._doubtful.add(table.name)

    def write(self) -> None:
        """What was added since the last time, in the order in which tables refer to each other."""
        rows, self._rows = self._rows, {}
        wanted = tuple((name, tuple(rows[name][0]), name in self._doubtful) for name in _tables() if name in rows)
        if self._conn.dialect.name == "postgresql":
            _insert_together(self._conn, wanted, rows)
            return
        for name, _, doubtful in wanted:
            self._conn.execute(_insert_new(name, "sqlite") if doubtful else _insert(name), rows[name])


@cache
def _tables() -> tuple[str, ...]:
    return tuple(table.name for table in t.metadata.sorted_tables)


Wanted = tuple[tuple[str, tuple[str, ...], bool], ...]  # tables, the columns their rows bring, whether some are there


def _insert_together(conn: Connection, wanted: Wanted, rows: Mapping[str, Rows]) -> None:
    """Through asyncpg, which keeps the statement prepared, inside the transaction that SQLAlchemy has begun."""
    if not wanted:
        return
    documents = [to_json(_complete(name, columns, rows[name])).decode() for name, columns, _ in wanted]
    driver: Any = conn.connection.driver_connection  # an asyncpg.Connection
    try:
        await_only(driver.execute(_together(wanted, conn.dialect), *documents))
    except Exception as error:
        if getattr(error, "sqlstate", None) is None:
            raise
        # Raised by asyncpg itself: give it the shape every other database error has.
        raise DBAPIError(f"INSERT INTO {', '.join(name for name, *_ in wanted)}", None, error) from error


@lru_cache(maxsize=500)
def _together(wanted: Wanted, dialect: Dialect) -> str:
    *before, last = (_from_json(dialect, place, *each) for place, each in enumerate(wanted, 1))
    named = ", ".join(f"part_{place} AS ({part})" for place, part in enumerate(before, 1))
    return f"WITH {named} {last}" if named else last


def _from_json(dialect: Dialect, place: int, table: str, brought: tuple[str, ...], doubtful: bool) -> str:
    columns = [t.metadata.tables[table].c[name] for name in (*brought, *_left_out(table, brought))]
    quote = dialect.identifier_preparer.quote
    names = ", ".join(quote(column.name) for column in columns)
    types = ", ".join(f"{quote(column.name)} {column.type.compile(dialect)}" for column in columns)
    known = " ON CONFLICT DO NOTHING" if doubtful else ""
    return f"INSERT INTO {table} ({names}) SELECT * FROM json_to_recordset(${place}::json) AS given ({types}){known}"  # noqa: S608  every name is ours


def _complete(table: str, brought: tuple[str, ...], rows: Rows) -> Rows:
    """With the defaults of what they leave out, and bytes as PostgreSQL reads them (its manual, bytea hex format)."""
    columns = t.metadata.tables[table].c
    defaults = {name: _default(columns[name]) for name in _left_out(table, brought)}
    binary = [name for name in brought if isinstance(columns[name].type, LargeBinary)]
    if not defaults and not binary:
        return rows
    return [
        row | defaults | {name: f"\\x{row[name].hex()}" for name in binary if row[name] is not None} for row in rows
    ]


@cache
def _left_out(table: str, brought: tuple[str, ...]) -> tuple[str, ...]:
    columns = t.metadata.tables[table].c
    return tuple(column.name for column in columns if column.default is not None and column.name not in brought)


def _default(column: Column[Any]) -> Any:
    default: Any = getattr(column.default, "arg", None)
    return default(None) if callable(default) else default


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
