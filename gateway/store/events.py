"""Reading events: what happened to a ticket, by whom, and what of it can still be undone."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, select

from gateway.store.journal import standing
from gateway.store.paging import MAX_ID, Ask, Order, Page, Row, fetch
from gateway.store.tables import events
from gateway.store.tickets import family

_BY_ID = Order("id", events.c.id, events.c.id)


def page_events(conn: Connection, ticket_id: int, ask: Ask) -> Page:
    """A page of a ticket's events (and of those merged into it), oldest first, each with `correction`."""
    page = fetch(conn, select(events).where(events.c.ticket_id.in_(family(conn, ticket_id))), _BY_ID, ask)
    with_corrections(conn, page.rows)
    return page


def get_event(conn: Connection, event_id: int) -> Row | None:
    """One event with `correction`."""
    if not 0 < event_id <= MAX_ID:
        return None
    row = conn.execute(select(events).where(events.c.id == event_id)).mappings().first()
    return with_corrections(conn, [dict(row)])[0] if row else None


def with_corrections(conn: Connection, rows: Sequence[Row]) -> Sequence[Row]:
    """Add `correction` to each: `{undone_at, undone_by}` when it is one that a person can undo (or has), else None."""
    found = standing(conn, [row["id"] for row in rows])
    for row in rows:
        row["correction"] = found.get(row["id"])
    return rows
