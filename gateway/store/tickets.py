"""Reading tickets. Every function takes a connection and gives plain rows; none of them writes.

A merged ticket keeps its number and is never listed, counted or found: what it held belongs to the ticket it was merged
into (DESIGN 7), so that lists do not depend on the order in which deliveries arrived. Asked for by number it answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Select, func, select

from gateway.store.comments import chat_history, export
from gateway.store.paging import MAX_ID, Ask, Order, Page, Row, fetch
from gateway.store.tables import attachments, comments, customers, tickets

SORTS: Final = {
    "id": tickets.c.id,
    "updated_at": tickets.c.updated_at,
    "created_at": tickets.c.created_at,
    "waits": tickets.c.customer_waits_since,
}
_SILENT: Final[Row] = {"text": "", "author_name": "", "author_value": "", "automated": [], "problems": []}
_CHAIN: Final = 100  # merges are flat; a longer chain than this would be a loop


def listed() -> Select[Any]:
    """The tickets that lists show."""
    return select(tickets).where(tickets.c.merged_into.is_(None))


def order(sort: str) -> Order:
    """`id`, `updated_at`, `created_at` or `waits`; `-` before it: descending. Raises KeyError for others."""
    name = sort.removeprefix("-")
    return Order(name, SORTS[name], tickets.c.id, descending=sort.startswith("-"))


def page_tickets(conn: Connection, ask: Ask, sort: str = "id") -> Page:
    """A page of all tickets, with what their first comments say (see `describe`)."""
    return described(conn, fetch(conn, listed(), order(sort), ask))


def changed_tickets(conn: Connection, ask: Ask, until: datetime) -> Page:
    """A page of those that changed last before a moment, in the order in which they changed; merged ones too, as
    whoever keeps a copy has to hear that they ended."""
    return described(conn, fetch(conn, select(tickets).where(tickets.c.updated_at <= until), order("updated_at"), ask))


def requested_tickets(conn: Connection, customer_id: int, ask: Ask, sort: str = "id") -> Page:
    """A page of one customer's tickets."""
    query = listed().where(tickets.c.requester_id == customer_id)
    return described(conn, fetch(conn, query, order(sort), ask))


def count_tickets(conn: Connection) -> int:
    """How many tickets there are."""
    return conn.scalar(select(func.count()).select_from(tickets).where(tickets.c.merged_into.is_(None))) or 0


def get_ticket(conn: Connection, ticket_id: int) -> Row | None:
    """One ticket, merged ones included."""
    found = get_tickets(conn, [ticket_id])
    return found[0] if found else None


def get_tickets(conn: Connection, ids: Iterable[int]) -> list[Row]:
    """Tickets in the order of the ids, without those that do not exist."""
    wanted = [ident for ident in dict.fromkeys(ids) if 0 < ident <= MAX_ID]
    rows = {row["id"]: dict(row) for row in conn.execute(select(tickets).where(tickets.c.id.in_(wanted))).mappings()}
    return describe(conn, [rows[ident] for ident in wanted if ident in rows])


def described(conn: Connection, page: Page) -> Page:
    """The page with `describe`d rows."""
    describe(conn, page.rows)
    return page


def describe(conn: Connection, rows: list[Row]) -> list[Row]:
    """Add `first`, the ticket's first comment (None when it has none), to each row: one query for all of them."""
    first = first_comments(conn, [row["id"] for row in rows])
    for row in rows:
        row["first"] = first.get(row["id"])
    return rows


def first_comments(conn: Connection, ticket_ids: Sequence[int]) -> dict[int, Row]:
    """What opened each ticket: text, author, recipients, channel facts."""
    if not ticket_ids:
        return {}
    firsts = select(func.min(comments.c.id)).where(comments.c.ticket_id.in_(ticket_ids)).group_by(comments.c.ticket_id)
    c = comments.c
    wanted = (
        c.ticket_id,
        c.text,
        c.author_name,
        c.author_kind,
        c.author_value,
        c.author_trust,
        c.recipients,
        c.channel,
    )
    found = conn.execute(select(*wanted).where(c.id.in_(firsts))).mappings()
    return {row["ticket_id"]: dict(row) for row in found}


def survivor(conn: Connection, ticket_id: int) -> int:
    """The ticket that now holds what this one held: itself, unless it was merged."""
    for _ in range(_CHAIN):
        target = conn.scalar(select(tickets.c.merged_into).where(tickets.c.id == ticket_id))
        if target is None or target == ticket_id:
            break
        ticket_id = target
    return ticket_id


def family(conn: Connection, ticket_id: int) -> list[int]:
    """The ticket and all that were merged into it."""
    known = [ticket_id]
    fresh = [ticket_id]
    while fresh:
        found = conn.scalars(select(tickets.c.id).where(tickets.c.merged_into.in_(fresh))).all()
        fresh = [ident for ident in found if ident not in known]
        known += fresh
    return known


def newest_first(conn: Connection, ask: Ask, channel: str = "", waiting: bool = False) -> Page:
    """The console's lists: newest activity first, or, with `waiting`, the longest unanswered customer first."""
    query = listed()
    if channel:
        query = query.where(tickets.c.channel == channel)
    if waiting:
        query = query.where(tickets.c.customer_waits_since.is_not(None))
    return summarise(conn, fetch(conn, query, order("waits" if waiting else "-updated_at"), ask))


def summarise(conn: Connection, page: Page) -> Page:
    """Add to each row what a list shows: `requester` (a name), `latest` (comment), `files` (how many), and, when the
    ticket has no subject, `opening` (its first words)."""
    ids = [row["id"] for row in page.rows]
    latest = _latest_comments(conn, ids)
    firsts = first_comments(conn, [row["id"] for row in page.rows if not row["subject"]])
    names = _names(conn, {row["requester_id"] for row in page.rows if row["requester_id"]})
    files = _file_counts(conn, ids)
    for row in page.rows:
        last = latest.get(row["id"], _SILENT)
        row["requester"] = names.get(row["requester_id"], "") or last["author_name"] or last["author_value"]
        row["latest"] = last
        row["opening"] = firsts.get(row["id"], {}).get("text", "")[:300]
        row["files"] = files.get(row["id"], 0)
    return page


def channel_counts(conn: Connection) -> dict[str, int]:
    """Listed tickets by channel."""
    query = select(tickets.c.channel, func.count()).where(tickets.c.merged_into.is_(None)).group_by(tickets.c.channel)
    return dict(conn.execute(query).all())


def waiting_count(conn: Connection) -> int:
    """Tickets on which a customer waits for an answer."""
    query = select(func.count()).select_from(tickets)
    return conn.scalar(query.where(tickets.c.merged_into.is_(None), tickets.c.customer_waits_since.is_not(None))) or 0


def _latest_comments(conn: Connection, ids: Sequence[int]) -> dict[int, Row]:
    if not ids:
        return {}
    c = comments.c
    last = select(func.max(c.id)).where(c.ticket_id.in_(ids)).group_by(c.ticket_id)
    wanted = (
        c.ticket_id,
        func.substr(c.text, 1, 300).label("text"),
        c.author_name,
        c.author_value,
        c.author_trust,
        c.automated,
        c.problems,
        c.matched_by,
        c.verdict,
        c.received_at,
    )
    return {row["ticket_id"]: dict(row) for row in conn.execute(select(*wanted).where(c.id.in_(last))).mappings()}


def _names(conn: Connection, ids: set[int]) -> dict[int, str]:
    if not ids:
        return {}
    query = select(customers.c.id, customers.c.name).where(customers.c.id.in_(sorted(ids)))
    return dict(conn.execute(query).all())


def _file_counts(conn: Connection, ids: Sequence[int]) -> dict[int, int]:
    if not ids:
        return {}
    query = (
        select(comments.c.ticket_id, func.count())
        .join(attachments, attachments.c.comment_id == comments.c.id)
        .where(comments.c.ticket_id.in_(ids))
        .group_by(comments.c.ticket_id)
    )
    return dict(conn.execute(query).all())


__all__ = [
    "SORTS",
    "changed_tickets",
    "channel_counts",
    "chat_history",
    "count_tickets",
    "describe",
    "described",
    "export",
    "family",
    "first_comments",
    "get_ticket",
    "get_tickets",
    "listed",
    "newest_first",
    "order",
    "page_tickets",
    "requested_tickets",
    "summarise",
    "survivor",
    "waiting_count",
]
