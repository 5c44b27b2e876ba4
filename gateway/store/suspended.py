"""Reading what waits for a person: suspended messages (held, with a cause) and dead letters (could not be recorded)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, Connection, RowMapping, func, select

from gateway.store.paging import MAX_ID, Ask, Order, Page, Row, fetch
from gateway.store.tables import attachments, dead_letters, receipts, suspended

_LIST: Final = [column for column in suspended.c if column.name != "original"]
_DEAD: Final = [column for column in dead_letters.c if column.name != "body"]


@dataclass(frozen=True, slots=True)
class Choice:
    """Which of those that wait. `cause`: what theirs contains, in any case; times are of arrival, `until` excluded."""

    channel: str = ""
    inbox: str = ""
    cause: str = ""
    since: datetime | None = None
    until: datetime | None = None


def page_suspended(conn: Connection, ask: Ask, *, descending: bool = False, decision: str | None = None) -> Page:
    """A page of suspended messages: those that wait, or those that were `rejected` or `recovered`."""
    order = Order("id", suspended.c.id, suspended.c.id, descending)
    return fetch(conn, select(*_LIST).where(_decided(decision)), order, ask)


def choose(conn: Connection, choice: Choice, limit: int) -> list[Row]:
    """Those that wait and are meant, oldest first, without original bytes and message."""
    columns = [column for column in _LIST if column.name != "message"]
    query = select(*columns).where(suspended.c.decision.is_(None))
    for name in ("channel", "inbox"):
        if value := getattr(choice, name):
            query = query.where(suspended.c[name] == value)
    if choice.cause:
        query = query.where(suspended.c.cause.icontains(choice.cause, autoescape=True))
    if choice.since:
        query = query.where(suspended.c.received_at >= choice.since)
    if choice.until:
        query = query.where(suspended.c.received_at < choice.until)
    return [dict(row) for row in conn.execute(query.order_by(suspended.c.id).limit(limit)).mappings()]


def get_held(conn: Connection, suspended_id: int) -> RowMapping | None:
    """The whole row of one that waits."""
    if not 0 < suspended_id <= MAX_ID:
        return None
    query = select(suspended).where(suspended.c.id == suspended_id, suspended.c.decision.is_(None))
    return conn.execute(query).mappings().first()


def get_suspended(conn: Connection, suspended_id: int) -> Row | None:
    """One suspended message, decided or not, original bytes included; with its `attachments` (without their bytes), and
    the `outcome` and `ticket_id` of its receipt."""
    if not 0 < suspended_id <= MAX_ID:
        return None
    query = select(suspended, receipts.c.outcome, receipts.c.ticket_id)
    joined = query.join(receipts, receipts.c.receipt_id == suspended.c.receipt_id, isouter=True)
    row = conn.execute(joined.where(suspended.c.id == suspended_id)).mappings().first()
    if row is None:
        return None
    columns = [column for column in attachments.c if column.name != "content"]
    query = select(*columns).where(attachments.c.suspended_id == suspended_id).order_by(attachments.c.id)
    return {**row, "attachments": [dict(file) for file in conn.execute(query).mappings()]}


def count_suspended(conn: Connection, decision: str | None = None) -> int:
    """How many messages wait, or were `rejected` or `recovered`."""
    return conn.scalar(select(func.count()).select_from(suspended).where(_decided(decision))) or 0


def _decided(decision: str | None) -> ColumnElement[bool]:
    return suspended.c.decision.is_(None) if decision is None else suspended.c.decision == decision


def page_dead_letters(conn: Connection, ask: Ask) -> Page:
    """A page of dead letters, newest first, those replayed since included."""
    return fetch(conn, select(*_DEAD), Order("id", dead_letters.c.id, dead_letters.c.id, descending=True), ask)


def get_dead_letter(conn: Connection, letter_id: int) -> Row | None:
    """One dead letter, body included."""
    if not 0 < letter_id <= MAX_ID:
        return None
    row = conn.execute(select(dead_letters).where(dead_letters.c.id == letter_id)).mappings().first()
    return dict(row) if row else None


def count_dead_letters(conn: Connection) -> int:
    """How many dead letters nobody has replayed."""
    query = select(func.count()).select_from(dead_letters).where(dead_letters.c.replayed_at.is_(None))
    return conn.scalar(query) or 0
