"""Several questions to the database at once.

On PostgreSQL each statement is a journey to another process and back, which costs more than most answers do: questions
that do not wait for each other travel as one statement. SQLite is in this process and is asked one by one.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, Final

from sqlalchemy import CTE, CompoundSelect, Connection, Dialect, Select, func, literal_column, select, union, union_all

Statement = Select[Any] | CompoundSelect[Any]

_NAMED: Final = "named"


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """A statement that is built once. `about`: parameters that bring many values; when none brings one, the answer is
    empty, and need not be asked for."""

    statement: Statement
    about: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class FollowUp:
    """A question about the answers to others. `make`: the statement about values that a parameter of this name, or a
    statement, brings. `named`: the columns that name them, each of a question; a row may name nothing there. `most`: an
    answer of more rows is not followed up, as it may be one that is not wanted."""

    make: Callable[[str | Select[Any]], Statement]
    named: tuple[tuple[Question, str], ...]
    most: int = 10_000


Asked = tuple[Question | FollowUp, ...]
Answers = Mapping[Question | FollowUp, Sequence[Any]]


def ask(conn: Connection, asked: Asked, values: Mapping[str, Any]) -> Answers:
    """The rows of each answer, in their order, with columns by name and by place. `values`: the parameters of all of
    them. What follows up comes after what it is about."""
    if conn.dialect.name != "postgresql":
        return _ask_in_turn(conn, asked, values)
    answers: list[list[Any]] = [[] for _ in asked]
    readers = _readers(asked, conn.dialect)
    for number, row in conn.execute(_together(asked), values):
        answers[number].append(readers[number](row))
    return dict(zip(asked, answers, strict=True))


def _ask_in_turn(conn: Connection, asked: Asked, values: Mapping[str, Any]) -> Answers:
    answers: dict[Question | FollowUp, list[Any]] = {}
    for each in asked:
        if isinstance(each, Question):
            is_asked = not each.about or any(values[name] for name in each.about)
            answers[each] = list(conn.execute(each.statement, values)) if is_asked else []
        else:
            named = ((answers[question], column) for question, column in each.named)
            found = {getattr(row, column) for rows, column in named if len(rows) <= each.most for row in rows} - {None}
            answers[each] = list(conn.execute(_by_name(each), {_NAMED: found})) if found else []
    return answers


@cache
def _by_name(each: FollowUp) -> Statement:
    return each.make(_NAMED)


@cache
def _together(asked: Asked) -> CompoundSelect[Any]:
    """Rows of different columns are one column, a record each (PostgreSQL's manual, 4.2.13 Row Constructors)."""
    parts: dict[Question | FollowUp, Any] = {}
    for number, each in enumerate(asked):
        if isinstance(each, Question):
            parts[each] = each.statement.cte(f"question_{number}")
        else:
            named = union(*(_name(parts[question], column, each.most) for question, column in each.named))
            found = named.cte(f"named_{number}")
            parts[each] = each.make(select(*found.c)).subquery(f"question_{number}")
    return union_all(
        *(select(literal_column(str(number)), func.row(*part.c)) for number, part in enumerate(parts.values()))
    )


def _name(answer: CTE, column: str, most: int) -> Select[Any]:
    rows = select(func.count()).select_from(answer).scalar_subquery()
    return select(answer.c[column]).where(rows <= most)


@lru_cache(maxsize=50)
def _readers(asked: Asked, dialect: Dialect) -> list[Callable[[Sequence[Any]], Any]]:
    return [_reader(each.statement if isinstance(each, Question) else _by_name(each), dialect) for each in asked]


def _reader(statement: Statement, dialect: Dialect) -> Callable[[Sequence[Any]], Any]:
    """From a record as the driver hands it out to a row as SQLAlchemy would."""
    columns = statement.selected_columns
    names = [column.name for column in columns]
    row: Any = namedtuple("Row", names)  # type: ignore[misc]
    processors = [column.type.dialect_impl(dialect).result_processor(dialect, None) for column in columns]
    places = [(place, processor) for place, processor in enumerate(processors) if processor]

    def read(record: Sequence[Any]) -> Any:
        values = list(record)
        for place, processor in places:
            values[place] = processor(values[place])
        return row._make(values)

    return read
