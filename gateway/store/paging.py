"""Pages of rows: by keyset cursor (stable while rows arrive) or by offset (what older API clients ask for).

A cursor is opaque to clients: base64url of `[sort, value, id]` of the row it stands on. It belongs to one sort order;
used with another, or damaged, it is refused with `BadCursorError` instead of silently starting again.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Select, and_, func, or_, select

from gateway.store.tables import Instant

Row = dict[str, Any]

MAX_ID: Final = 2**63 - 1  # ids are 64-bit in both databases; a larger number names nothing


class BadCursorError(ValueError):
    """A cursor that this list did not hand out."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Which page: `size` rows after or before a cursor, or, when `offset` is given, after that many rows."""

    size: int = 100
    after: str = ""
    before: str = ""
    offset: int | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """By which column, which way. `name` is part of the cursor; equal values are told apart by `id`."""

    name: str
    column: ColumnElement[Any]
    id: ColumnElement[int]
    descending: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """Rows of one page. Cursors are None on an empty page; `total` is counted only in offset mode."""

    rows: list[Row]
    has_more: bool = False  # more in the direction that was asked for
    has_other: bool = False  # something lies in the other direction
    after: str | None = None
    before: str | None = None
    total: int | None = None


def fetch(conn: Connection, query: Select[Any], order: Order, ask: Ask) -> Page:
    """One page of a query whose rows carry `order.column` as `order_value` or under its own name, and `id`."""
    query = query.add_columns(order.column.label("order_value"))
    if ask.offset is not None:
        return _by_offset(conn, query, order, ask.size, ask.offset)
    backwards = bool(ask.before)
    query = _keyset(query, order, ask.before or ask.after, backwards=backwards)
    rows = [dict(row) for row in conn.execute(query.limit(ask.size + 1)).mappings()]
    more = len(rows) > ask.size
    rows = rows[: ask.size]
    if backwards:
        rows.reverse()
    ends = [encode_cursor(order, row) for row in (rows[0], rows[-1])] if rows else [None, None]
    for row in rows:
        del row["order_value"]
    return Page(rows, more, backwards or bool(ask.after), after=ends[1], before=ends[0])


def encode_cursor(order: Order, row: Row) -> str:
    """The cursor that stands on a row."""
    value = row["order_value"]
    if isinstance(value, datetime):
        value = value.isoformat()
    packed = json.dumps([_sort_name(order), value, row["id"]], separators=(",", ":"))
    return base64.urlsafe_b64encode(packed.encode()).decode().rstrip("=")


def end_cursor(order: Order) -> str:
    """The cursor behind the last row of a list sorted by id: `Ask(before=...)` with it gives the newest rows."""
    return encode_cursor(order, {"order_value": MAX_ID, "id": MAX_ID})


def decode_cursor(order: Order, cursor: str) -> tuple[Any, int]:
    """Value and id of the row a cursor stands on. Raises `BadCursorError`."""
    try:
        packed = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
        name, value, ident = packed
        value = _moment(value) if isinstance(order.column.type, Instant) else value
    except (ValueError, TypeError, RecursionError, OverflowError):
        name = value = ident = None
    if name != _sort_name(order) or not _is_id(ident) or not (_is_id(value) or isinstance(value, datetime)):
        raise BadCursorError("this cursor does not belong to this list; start again without one")
    return value, ident


def _is_id(value: object) -> bool:
    return type(value) is int and -MAX_ID <= value <= MAX_ID


def _moment(value: str) -> datetime:
    """In UTC, where it may lie outside of the years there are."""
    moment = datetime.fromisoformat(value)
    if moment.tzinfo is None:
        raise ValueError("a moment without a time zone")
    return moment.astimezone(UTC)


def _sort_name(order: Order) -> str:
    return f"-{order.name}" if order.descending else order.name


def _keyset(query: Select[Any], order: Order, cursor: str, *, backwards: bool) -> Select[Any]:
    down = order.descending != backwards
    if cursor:
        value, ident = decode_cursor(order, cursor)
        beyond = order.column < value if down else order.column > value
        beside = order.id < ident if down else order.id > ident
        query = query.where(or_(beyond, and_(order.column == value, beside)))
    if down:
        return query.order_by(order.column.desc(), order.id.desc())
    return query.order_by(order.column, order.id)


def _by_offset(conn: Connection, query: Select[Any], order: Order, size: int, offset: int) -> Page:
    total = conn.scalar(select(func.count()).select_from(query.order_by(None).subquery())) or 0
    query = _keyset(query, order, "", backwards=False).limit(size).offset(offset)
    rows = [dict(row) for row in conn.execute(query).mappings()]
    for row in rows:
        del row["order_value"]
    return Page(rows, offset + size < total, offset > 0, total=total)
