"""Writing many rows at once, new ones and changed ones, the same on both databases."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import count
from typing import Any

from pydantic_core import to_json
from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Dialect,
    Insert,
    LargeBinary,
    Select,
    Table,
    Update,
    bindparam,
    func,
    insert,
    literal_column,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.util import await_only

from gateway.store import tables as t
from gateway.store.values import one_of

Rows = list[dict[str, Any]]


def next_ids(conn: Connection, numbered: Iterable[Table]) -> dict[str, int]:
    """The next free number of each table, valid while the ledger lock is held; one statement, index-only."""
    highest_ids = conn.execute(highest(numbered)).one()
    return {name: number + 1 for name, number in highest_ids._asdict().items()}


def highest(numbered: Iterable[Table]) -> Select[Any]:
    """The highest number of each table, under its name; 0 of an empty one."""
    return _highest(tuple(table.name for table in numbered))


@cache
def _highest(names: tuple[str, ...]) -> Select[Any]:
    ids = (t.metadata.tables[name].c.id for name in names)
    highest = (select(func.coalesce(func.max(number), 0)).scalar_subquery() for number in ids)
    return select(*(each.label(name) for name, each in zip(names, highest, strict=True)))


def update_all(conn: Connection, changes: Sequence[Update]) -> None:
    """Several updates at once, of different tables."""
    if conn.dialect.name == "postgresql":
        parts = (change.cte(f"part_{number}") for number, change in enumerate(changes))
        conn.execute(select(literal_column("1")).add_cte(*parts))
        return
    for change in changes:
        conn.execute(change)


def insert_all(conn: Connection, table: Table, rows: Rows) -> None:
    """Insert rows that are known to be new."""
    writes = Writes(conn)
    writes.add(table, rows)
    writes.write()


def change_all(conn: Connection, change: Change, rows: Rows) -> None:
    """Make a change for each of these."""
    writes = Writes(conn)
    writes.change(change, rows)
    writes.write()


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """An update by values that many rows bring, built once. Each row of the table is changed by one of them at most.

    `key`: a column of the table by which its rows are found, so it has an index. `columns`: what is brought, first the
    key. `make`: the update, from these by name.
    """

    key: Column[Any]
    columns: tuple[Column[Any], ...]
    make: Callable[[Mapping[str, ColumnElement[Any]]], Update]


class Writes:
    """What is written together: new rows of several tables, and changes of rows that are there.

    On PostgreSQL they are one statement that gets each table's rows as one JSON document, and what may be long in them
    (texts, files) as arrays beside it: the server reads JSON an octet at a time, and bytes are twice as many in it. A
    COPY of each table takes two round trips, and either side spends more on those than on the rows; of an array,
    asyncpg examines every value. References between the rows are checked once all are there. A change does not see the
    rows that are new.
    """

    def __init__(self, conn: Connection) -> None:
        self._conn = conn
        self._rows: dict[str, Rows] = {}
        self._changes: dict[Change, Rows] = {}
        self._doubtful: set[str] = set()

    def add(self, table: Table, rows: Rows, *, doubtful: bool = False) -> None:
        """To a table, rows of the same columns each time. `doubtful`: some may be there, and stay as they are."""
        if rows:
            self._rows.setdefault(table.name, []).extend(rows)
        if doubtful:
            self._doubtful.add(table.name)

    def change(self, change: Change, rows: Rows) -> None:
        """Of rows that were there before, once for each of these."""
        if rows:
            self._changes.setdefault(change, []).extend(rows)

    def write(self) -> None:
        """What was given since the last time, new rows in the order in which tables refer to each other."""
        rows, self._rows = self._rows, {}
        changes, self._changes = self._changes, {}
        wanted = tuple((name, tuple(rows[name][0]), name in self._doubtful) for name in _tables() if name in rows)
        if self._conn.dialect.name == "postgresql":
            _write_together(self._conn, wanted, rows, changes)
            return
        for name, _, doubtful in wanted:
            self._conn.execute(_insert_new(name, "sqlite") if doubtful else _insert(name), rows[name])
        for change, values in changes.items():  # they may refer to what is new
            self._conn.execute(_by_parameters(change), [{f"b_{name}": row[name] for name in row} for row in values])


@cache
def _by_parameters(change: Change) -> Update:
    """With names of their own: those of the table's columns are taken (SQLAlchemy's manual, UPDATE)."""
    return change.make({column.name: bindparam(f"b_{column.name}", type_=column.type) for column in change.columns})


@cache
def _tables() -> tuple[str, ...]:
    return tuple(table.name for table in t.metadata.sorted_tables)


Wanted = tuple[tuple[str, tuple[str, ...], bool], ...]  # tables, the columns their rows bring, whether some are there


def _write_together(conn: Connection, wanted: Wanted, rows: Mapping[str, Rows], changes: Mapping[Change, Rows]) -> None:
    """Through asyncpg, which keeps the statement prepared, inside the transaction that SQLAlchemy has begun."""
    if not wanted and not changes:
        return
    given = [to_json(values).decode() for values in changes.values()]
    given += [value for name, columns, _ in wanted for value in _give(name, columns, rows[name])]
    driver: Any = conn.connection.driver_connection  # an asyncpg.Connection
    try:
        await_only(driver.execute(_together(tuple(changes), wanted, conn.dialect), *given))
    except Exception as error:
        if getattr(error, "sqlstate", None) is None:
            raise
        # Raised by asyncpg itself: give it the shape every other database error has.
        what = ", ".join([f"INSERT INTO {name}" for name, *_ in wanted] or ["UPDATE"])
        raise DBAPIError(what, None, error) from error


@lru_cache(maxsize=500)
def _together(changes: tuple[Change, ...], wanted: Wanted, dialect: Dialect) -> str:
    places = count(1)
    parts = [_change_given(dialect, places, change) for change in changes]
    *before, last = (*parts, *(_insert_given(dialect, places, *each) for each in wanted))
    named = ", ".join(f"part_{number} AS ({part})" for number, part in enumerate(before, 1))
    return f"WITH {named} {last}" if named else last


def _change_given(dialect: Dialect, places: Iterator[int], change: Change) -> str:
    rows = func.json_to_recordset(literal_column(f"${next(places)}::json"))
    columns = [Column(column.name, column.type) for column in change.columns]
    given, keys = (rows.table_valued(*of).render_derived(with_types=True) for of in (columns, columns[:1]))
    # A join alone may read the whole table, and on a young one does so for ever after.
    found = one_of(change.key, select(*keys.c))
    update = change.make(dict(given.c)).where(found)
    return str(update.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))


def _insert_given(dialect: Dialect, places: Iterator[int], name: str, brought: tuple[str, ...], doubtful: bool) -> str:
    table, quote = t.metadata.tables[name], dialect.identifier_preparer.quote
    short, long = _by_length(name, brought)
    types = {column: table.c[column].type.compile(dialect) for column in (*short, *long)}
    described = ", ".join(f"{quote(column)} {types[column]}" for column in short)
    sources = [f"json_to_recordset(${next(places)}::json) AS ({described})"]
    sources += [f"unnest(${next(places)}::{types[column]}[])" for column in long]
    names = ", ".join(map(quote, types))
    known = " ON CONFLICT DO NOTHING" if doubtful else ""
    # Side by side, row by row (PostgreSQL's manual, 7.2.1.4).
    return f"INSERT INTO {name} ({names}) SELECT * FROM ROWS FROM ({', '.join(sources)}) AS given ({names}){known}"  # noqa: S608  every name is ours


def _give(name: str, brought: tuple[str, ...], rows: Rows) -> list[Any]:
    """The parameters of a table's rows: the document, then each long column."""
    short, long = _by_length(name, brought)
    columns = t.metadata.tables[name].c
    defaults = {column: _default(columns[column]) for column in _left_out(name, brought)}
    if defaults:
        rows = [defaults | row for row in rows]
    document = [{column: row[column] for column in short} for row in rows] if long else rows
    return [to_json(document).decode(), *([row[column] for row in rows] for column in long)]


@cache
def _by_length(name: str, brought: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The columns of rows that travel in the document, and those that travel by themselves."""
    columns = t.metadata.tables[name].c
    names = (*brought, *_left_out(name, brought))
    long = tuple(column for column in names if isinstance(columns[column].type, LargeBinary | t.Body))
    return tuple(column for column in names if column not in long), long


@cache
def _left_out(table: str, brought: tuple[str, ...]) -> tuple[str, ...]:
    columns = t.metadata.tables[table].c
    # As plain strings: SQLAlchemy's are of a class of its own, which takes `to_json` 3 us a name.
    return tuple(str(column.name) for column in columns if column.default is not None and column.name not in brought)


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
