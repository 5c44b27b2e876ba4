"""Comments whose story has changed: another fact of a call arrived after its comment was written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, select, update

from gateway.store import tables as t
from gateway.store.inserting import Rows, insert_all, insert_new
from gateway.store.people import Take, meet_callers
from gateway.store.rows import attachment_row, author_row
from gateway.store.values import one_of
from gateway.worker.matching import participants_of
from gateway.worker.plan import Retelling


def retell(conn: Connection, take: Take, retellings: Sequence[Retelling], now: datetime) -> Mapping[int, int]:
    """Rewrite the comments, their files and authors, and the tickets they opened; the ticket of each comment.

    A comment occurs once. The number of statements does not grow with the number of comments.
    """
    if not retellings:
        return {}
    columns = t.comments.c
    numbers = [item.comment for item in retellings]
    query = select(columns.id, columns.ticket_id, columns.author_id).where(one_of(columns.id, numbers))
    told = {row.id: row for row in conn.execute(query)}
    callers = [(told[item.comment].author_id, item.message.author) for item in retellings]
    customers = dict(zip(numbers, meet_callers(conn, callers, now, take), strict=True))
    _rewrite_comments(conn, retellings, customers)
    _replace_files(conn, take, retellings)
    tickets = {number: row.ticket_id for number, row in told.items()}
    _rename_opened_tickets(conn, retellings, tickets, customers, now)
    people = [
        {"id": take(t.participants), "ticket_id": tickets[item.comment], "identity": person}
        for item in retellings
        for person in sorted(participants_of(item.message))
    ]
    insert_new(conn, t.participants, people)
    return tickets


def _rewrite_comments(conn: Connection, retellings: Sequence[Retelling], customers: Mapping[int, int | None]) -> None:
    rows: Rows = []
    for item in retellings:
        message = item.message
        row = {
            "subject": message.subject,
            "text": message.text,
            "fields": message.fields,
            "sent_at": message.sent_at,
            "author_id": customers[item.comment],
            **author_row(message.author),
        }
        rows.append({f"b_{name}": value for name, value in row.items()} | {"b_id": item.comment})
    columns = t.comments.c
    new = {name[2:]: bindparam(name, type_=columns[name[2:]].type) for name in rows[0] if name != "b_id"}
    conn.execute(update(t.comments).where(columns.id == bindparam("b_id")).values(new), rows)


def _replace_files(conn: Connection, take: Take, retellings: Sequence[Retelling]) -> None:
    numbers = [item.comment for item in retellings]
    conn.execute(delete(t.attachments).where(one_of(t.attachments.c.comment_id, numbers)))
    files = [
        {"id": take(t.attachments), "comment_id": item.comment, **attachment_row(file)}
        for item in retellings
        for file in item.message.attachments
    ]
    insert_all(conn, t.attachments, files)


def _rename_opened_tickets(
    conn: Connection,
    retellings: Sequence[Retelling],
    tickets: Mapping[int, int],
    customers: Mapping[int, int | None],
    now: datetime,
) -> None:
    """A ticket is called after its first comment and belongs to whoever wrote that."""
    columns = t.comments.c
    first = select(func.min(columns.id)).where(one_of(columns.ticket_id, set(tickets.values())))
    opening = set(conn.scalars(first.group_by(columns.ticket_id)))
    rows = [
        {
            "b_id": tickets[item.comment],
            "b_subject": item.message.subject,
            "b_requester": customers[item.comment],
            "b_now": now,
        }
        for item in retellings
        if item.comment in opening
    ]
    if rows:
        opened = update(t.tickets).where(t.tickets.c.id == bindparam("b_id"))
        named: dict[str, Any] = {"subject": bindparam("b_subject"), "requester_id": bindparam("b_requester")}
        conn.execute(opened.values(named | {"updated_at": bindparam("b_now")}), rows)
