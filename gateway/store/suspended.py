"""Reading what waits for a person: suspended messages (held, with a cause) and dead letters (could not be recorded)."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, func, select

from gateway.store.paging import MAX_ID, Ask, Order, Page, Row, fetch
from gateway.store.tables import attachments, dead_letters, suspended

_LIST: Final = [column for column in suspended.c if column.name != "original"]
_DEAD: Final = [column for column in dead_letters.c if column.name != "body"]


def page_suspended(conn: Connection, ask: Ask, *, descending: bool = False) -> Page:
    """A page of suspended messages."""
    order = Order("id", suspended.c.id, suspended.c.id, descending)
    return fetch(conn, select(*_LIST), order, ask)


def get_suspended(conn: Connection, suspended_id: int) -> Row | None:
    """One suspended message, original bytes included, with its `attachments` (without their bytes)."""
    if not 0 < suspended_id <= MAX_ID:
        return None
    row = conn.execute(select(suspended).where(suspended.c.id == suspended_id)).mappings().first()
    if row is None:
        return None
    columns = [column for column in attachments.c if column.name != "content"]
    query = select(*columns).where(attachments.c.suspended_id == suspended_id).order_by(attachments.c.id)
    return {**row, "attachments": [dict(file) for file in conn.execute(query).mappings()]}


def count_suspended(conn: Connection) -> int:
    """How many messages are held."""
    return conn.scalar(select(func.count()).select_from(suspended)) or 0


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
