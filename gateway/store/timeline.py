"""One ticket as a person reads it: everything said and everything that happened, with the reasons."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from sqlalchemy import Connection, func, or_, select

from gateway.store.claims import suggestions
from gateway.store.comments import BY_ID, count_comments, page_comments
from gateway.store.customers import get_customer, get_customers
from gateway.store.events import with_corrections
from gateway.store.journal import corrections_of
from gateway.store.paging import Ask, Row, end_cursor
from gateway.store.tables import (
    comments,
    correction_subjects,
    dead_letters,
    events,
    participants,
    suspended,
    ticket_links,
    tickets,
)
from gateway.store.tickets import family, get_ticket, get_tickets

_EVENTS: Final = 500
_EARLIER: Final = 8


def timeline(conn: Connection, ticket_id: int, ask: Ask) -> Row | None:
    """The ticket with `comments` (a Page: the newest `ask.size`, oldest first, each with its `corrections`),
    `comment_total`, `events` (each with `correction`), `links`, `merged` (tickets merged into it), `participants`,
    `requester` (with identities), `earlier` (their other tickets), `suggestions` (who may be the same person).
    """
    ticket = get_ticket(conn, ticket_id)
    if ticket is None:
        return None
    ids = family(conn, ticket_id)
    page = page_comments(conn, ids, replace(ask, before=ask.before or end_cursor(BY_ID)))
    corrected = corrections_of(conn, [f"comment:{row['id']}" for row in page.rows])
    for row in page.rows:
        row["corrections"] = corrected.get(f"comment:{row['id']}", [])
    requester = get_customer(conn, ticket["requester_id"]) if ticket["requester_id"] else None
    return {
        **ticket,
        "comments": page,
        "comment_total": count_comments(conn, ids),
        "events": _events(conn, ids),
        "links": _links(conn, ids),
        "merged": [ident for ident in ids if ident != ticket_id],
        "participants": _participants(conn, ids),
        "requester": requester,
        "earlier": earlier_tickets(conn, ticket["requester_id"], ids) if requester else [],
        "suggestions": _suggestions(conn, ticket["requester_id"]) if requester else [],
    }


def earlier_tickets(conn: Connection, customer_id: int, without: list[int]) -> list[Row]:
    """The customer's other tickets, newest first."""
    query = (
        select(tickets.c.id, tickets.c.subject, tickets.c.status, tickets.c.channel, tickets.c.updated_at)
        .where(tickets.c.requester_id == customer_id, tickets.c.merged_into.is_(None), tickets.c.id.not_in(without))
        .order_by(tickets.c.id.desc())
        .limit(_EARLIER)
    )
    return [dict(row) for row in conn.execute(query).mappings()]


def revision(conn: Connection) -> str:
    """Changes whenever something that a list shows may have changed; a handful of index look-ups."""
    marks = (
        select(func.max(tickets.c.updated_at)),
        select(func.max(tickets.c.id)),
        select(func.max(comments.c.id)),
        select(func.max(events.c.id)),
        select(func.max(suspended.c.id)),
        select(func.max(dead_letters.c.id)),
    )
    return "/".join(str(conn.scalar(mark)) for mark in marks)


def _events(conn: Connection, ids: list[int]) -> list[Row]:
    """The tickets' own events, and corrections made on another ticket that concern these."""
    touched = correction_subjects.c
    about = select(touched.correction_id).where(touched.subject.in_([f"ticket:{ident}" for ident in ids]))
    # Asked first: as a sub-query it makes PostgreSQL read every event of the desk, newest first.
    elsewhere = list(conn.scalars(about.order_by(touched.correction_id.desc()).limit(_EVENTS)))
    mine = events.c.ticket_id.in_(ids)
    wanted = or_(mine, events.c.id.in_(elsewhere)) if elsewhere else mine
    query = select(events).where(wanted).order_by(events.c.id.desc()).limit(_EVENTS)
    return list(with_corrections(conn, [dict(row) for row in conn.execute(query).mappings()][::-1]))


def _suggestions(conn: Connection, customer_id: int) -> list[Row]:
    """Each with `other`, the customer who may be the same person."""
    rows = suggestions(conn, customer_id)
    others = {row["id"]: row for row in get_customers(conn, [row["other_id"] for row in rows])}
    return [{**row, "other": others[row["other_id"]]} for row in rows if row["other_id"] in others]


def _links(conn: Connection, ids: list[int]) -> list[Row]:
    """Links from and to these tickets; `other` is the ticket at the far end."""
    query = (
        select(ticket_links)
        .where(or_(ticket_links.c.ticket_id.in_(ids), ticket_links.c.other_id.in_(ids)))
        .order_by(ticket_links.c.id)
        .limit(_EVENTS)
    )
    rows = [dict(row) for row in conn.execute(query).mappings()]
    for row in rows:
        row["forward"] = row["ticket_id"] in ids
        row["far_id"] = row["other_id"] if row["forward"] else row["ticket_id"]
    far = {row["id"]: row for row in get_tickets(conn, (row["far_id"] for row in rows))}
    for row in rows:
        row["other"] = far.get(row["far_id"])
    return [row for row in rows if row["far_id"] not in ids]


def _participants(conn: Connection, ids: list[int]) -> list[str]:
    query = select(participants.c.identity).where(participants.c.ticket_id.in_(ids)).order_by(participants.c.id)
    return list(dict.fromkeys(conn.scalars(query.limit(100))))
