"""Two tickets become one."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, delete, select, update

from gateway.store import tables as t
from gateway.store.inserting import insert_new


def absorb(conn: Connection, absorbed: int, survivor: int, now: datetime) -> None:
    """Move everything of one ticket to another and leave a redirect."""
    for table in (t.comments, t.thread_keys, t.events, t.outbox, t.receipts):
        conn.execute(update(table).where(table.c.ticket_id == absorbed).values(ticket_id=survivor))
    people = t.participants.c
    present = select(people.identity).where(people.ticket_id == survivor).scalar_subquery()
    conn.execute(delete(t.participants).where(people.ticket_id == absorbed, people.identity.in_(present)))
    conn.execute(update(t.participants).where(people.ticket_id == absorbed).values(ticket_id=survivor))
    _move_links(conn, absorbed, survivor)
    columns = t.tickets.c
    one = conn.execute(select(columns.customer_waits_since, columns.comment_count).where(columns.id == absorbed)).one()
    other = conn.execute(select(columns.customer_waits_since).where(columns.id == survivor)).one()
    waits = min((at for at in (one.customer_waits_since, other.customer_waits_since) if at), default=None)
    conn.execute(
        update(t.tickets)
        .where(columns.id == survivor)
        .values(comment_count=columns.comment_count + one.comment_count, customer_waits_since=waits, updated_at=now)
    )
    conn.execute(update(t.tickets).where(columns.merged_into == absorbed).values(merged_into=survivor))
    conn.execute(
        update(t.tickets)
        .where(columns.id == absorbed)
        .values(merged_into=survivor, status="closed", comment_count=0, customer_waits_since=None, updated_at=now)
    )


def _move_links(conn: Connection, absorbed: int, survivor: int) -> None:
    """Links of the absorbed ticket are the survivor's, except one between the two and those it already has."""
    links = t.ticket_links.c
    mine = list(
        conn.execute(select(t.ticket_links).where((links.ticket_id == absorbed) | (links.other_id == absorbed)))
    )
    if not mine:
        return
    conn.execute(delete(t.ticket_links).where(links.id.in_([row.id for row in mine])))
    moved = []
    for row in mine:
        ends = {
            name: survivor if value == absorbed else value
            for name, value in (("ticket_id", row.ticket_id), ("other_id", row.other_id))
        }
        if ends["ticket_id"] != ends["other_id"]:
            moved.append({**row._mapping, **ends})
    insert_new(conn, t.ticket_links, moved)
