"""Comments whose story has changed: another fact of a call arrived after its comment was written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Final

from sqlalchemy import Connection, Update, bindparam, delete, func, select, update

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
    numbers = [item.comment for item in retellings]
    told = {row.id: row for row in conn.execute(_TOLD, {"numbers": numbers})}
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
    conn.execute(_rewrite(tuple(name[2:] for name in rows[0] if name != "b_id")), rows)


@cache
def _rewrite(names: tuple[str, ...]) -> Update:
    columns = t.comments.c
    new = {name: bindparam(f"b_{name}", type_=columns[name].type) for name in names}
    return update(t.comments).where(columns.id == bindparam("b_id")).values(new)


def _replace_files(conn: Connection, take: Take, retellings: Sequence[Retelling]) -> None:
    numbers = [item.comment for item in retellings]
    conn.execute(_FORGET_FILES, {"numbers": numbers})
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
    opening = set(conn.scalars(_OPENING, {"tickets": sorted(set(tickets.values()))}))
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
        conn.execute(_RENAME, rows)


_C: Final = t.comments.c
_TOLD: Final = select(_C.id, _C.ticket_id, _C.author_id).where(one_of(_C.id, "numbers"))
_FORGET_FILES: Final = delete(t.attachments).where(one_of(t.attachments.c.comment_id, "numbers"))
_OPENING: Final = select(func.min(_C.id)).where(one_of(_C.ticket_id, "tickets")).group_by(_C.ticket_id)
_RENAME: Final = (
    update(t.tickets)
    .where(t.tickets.c.id == bindparam("b_id"))
    .values(
        subject=bindparam("b_subject"),
        requester_id=bindparam("b_requester"),
        updated_at=bindparam("b_now", type_=t.Instant),
    )
)
