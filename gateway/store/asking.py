"""Several questions to the database at once.

On PostgreSQL each statement is a journey to another process and back, which costs more than most answers do: questions
that do not wait for each other travel as one statement. SQLite is in this process and is asked one by one.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

from sqlalchemy import CompoundSelect, Connection, Dialect, Select, func, literal_column, select, union_all


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """A statement that is built once. `about`: parameters that bring many values; when none brings one, the answer is
    empty, and need not be asked for."""

    statement: Select[Any] | CompoundSelect[Any]
    about: tuple[str, ...] = ()


def ask(conn: Connection, questions: tuple[Question, ...], values: Mapping[str, Any]) -> list[list[Any]]:
    """The rows of each answer, their columns by name and by place. `values`: the parameters of all of them."""
    if conn.dialect.name != "postgresql":
        return [list(conn.execute(each.statement, values)) if _is_asked(each, values) else [] for each in questions]
    answers: list[list[Any]] = [[] for _ in questions]
    readers = _readers(questions, conn.dialect)
    for number, row in conn.execute(_together(questions), values):
        answers[number].append(readers[number](row))
    return answers


def _is_asked(question: Question, values: Mapping[str, Any]) -> bool:
    return not question.about or any(values[name] for name in question.about)


@cache
def _together(questions: tuple[Question, ...]) -> CompoundSelect[Any]:
    """Rows of different columns are one column, a record each (PostgreSQL's manual, 4.2.13 Row Constructors)."""
    each = (question.statement.subquery(f"question_{number}") for number, question in enumerate(questions))
    return union_all(*(select(literal_column(str(number)), func.row(*one.c)) for number, one in enumerate(each)))


@lru_cache(maxsize=50)
def _readers(questions: tuple[Question, ...], dialect: Dialect) -> list[Callable[[Sequence[Any]], Any]]:
    return [_reader(question, dialect) for question in questions]


def _reader(question: Question, dialect: Dialect) -> Callable[[Sequence[Any]], Any]:
    """From a record as the driver hands it out to a row as SQLAlchemy would."""
    columns = question.statement.selected_columns
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
