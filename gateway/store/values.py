"""`column IN (many values)` whose statement is the same text however many values there are.

SQLAlchemy writes `IN` with a parameter for each value. The text then differs with every batch, so it is composed anew
each time, and PostgreSQL parses and plans it anew. Here the values are one parameter: an array on PostgreSQL, a JSON
document on SQLite.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any, Self

from sqlalchemy import ARRAY, Boolean, Column, Dialect, ScalarSelect, Select, String, Text, bindparam
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.operators import OperatorType
from sqlalchemy.types import TypeDecorator, TypeEngine


class _Many(TypeDecorator[Collection[Any]]):
    """Values of one type as one parameter."""

    impl = Text
    cache_ok = True

    def __init__(self, item: TypeEngine[Any]) -> None:
        super().__init__()
        self.item = item

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "postgresql":
            return dialect.type_descriptor(ARRAY(self.item))
        return dialect.type_descriptor(Text())

    def process_bind_param(self, value: Collection[Any] | None, dialect: Dialect) -> Any:
        if value is None:
            return None
        if dialect.name == "postgresql":
            return list(value)
        write = self.item.dialect_impl(dialect).bind_processor(dialect)
        return json.dumps([write(item) for item in value] if write else list(value))


class one_of(FunctionElement[bool]):
    """Is a column's value one of these? True of no row when there are none.

    `values`: the values, or the name of the parameter that brings them, for a statement that is built once, or a
    statement that finds them: it runs first, and the rest of the query looks each of them up.
    """

    type = Boolean()
    inherit_cache = True

    def __init__(self, column: Column[Any], values: Collection[Any] | str | Select[Any]) -> None:
        # Without a length: PostgreSQL's cast to varchar(16)[] cuts longer values, which then are found by mistake.
        item = Text() if isinstance(column.type, String) else column.type
        if isinstance(values, Select):
            super().__init__(column, values.scalar_subquery())
        elif isinstance(values, str):
            super().__init__(column, bindparam(values, required=True, type_=_Many(item)))
        else:
            super().__init__(column, bindparam(None, list(values), type_=_Many(item), unique=True))

    def self_group(self, against: OperatorType | None = None) -> Self:
        """A condition as it stands: SQLAlchemy would compare it with 1 on SQLite, which then uses no index."""
        return self


@compiles(one_of)
def _with_json(element: one_of, compiler: SQLCompiler, **how: Any) -> str:
    column, values = (compiler.process(clause, **how) for clause in element.clauses)
    found = values if _is_statement(element) else f"(SELECT value FROM json_each({values}))"  # noqa: S608
    return f"{column} IN {found}"


@compiles(one_of, "postgresql")
def _with_array(element: one_of, compiler: SQLCompiler, **how: Any) -> str:
    column, values = (compiler.process(clause, **how) for clause in element.clauses)
    return f"{column} = ANY (ARRAY {values})" if _is_statement(element) else f"{column} = ANY ({values})"


def _is_statement(element: one_of) -> bool:
    return isinstance(list(element.clauses)[1], ScalarSelect)
