"""A store to correct things in, on both databases, and an image of everything a correction may change."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Table, select

from gateway.store import tables as t

NOW = datetime(2026, 8, 1, 12, 0, tzinfo=UTC)


def image(conn: Connection) -> dict[str, set[Any]]:
    """Everything that corrections change and undoing restores. Left out: when a row was touched last, numbers of rows
    nobody sees, and tickets and customers that only lead to another (a number that was given out stays)."""
    return {
        "tickets": _rows(
            conn,
            t.tickets,
            "id subject status requester_id channel inbox language customer_waits_since comment_count created_at",
            t.tickets.c.merged_into.is_(None),
        ),
        "comments": _rows(conn, t.comments, "id ticket_id receipt_id author_id text matched_by verdict"),
        "keys": _rows(conn, t.thread_keys, "id key role author ticket_id comment_id"),
        "participants": _rows(conn, t.participants, "ticket_id identity"),
        "receipts": _rows(conn, t.receipts, "receipt_id outcome ticket_id comment_id duplicate_of"),
        "files": _rows(conn, t.attachments, "id comment_id"),
        "links": _rows(conn, t.ticket_links, "ticket_id other_id kind reason"),
        "customers": _rows(conn, t.customers, "id name language external_id", t.customers.c.merged_into.is_(None)),
        "identities": _rows(conn, t.identities, "id customer_id kind value trust source"),
    }


def _rows(conn: Connection, table: Table, names: str, *conditions: Any) -> set[Any]:
    return {tuple(row) for row in conn.execute(select(*(table.c[name] for name in names.split())).where(*conditions))}


def on(conn: Connection, ticket: int) -> list[str]:
    """The Message-IDs on a ticket, oldest first."""
    columns = t.comments.c
    return list(conn.scalars(select(columns.external_id).where(columns.ticket_id == ticket).order_by(columns.id)))


def ticket_row(conn: Connection, ticket: int) -> Any:
    return conn.execute(select(t.tickets).where(t.tickets.c.id == ticket)).one()
