"""Comments whose story has changed: another fact of a call arrived after its comment was written."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Final

from sqlalchemy import Connection, Update, bindparam, delete, exists, func, select, update

from gateway.store import tables as t
from gateway.store.people import Holders, Take, meet_callers
from gateway.store.rows import attachment_row, author_row
from gateway.store.values import one_of
from gateway.store.writing import Rows, Writes
from gateway.worker.clues import participants_of
from gateway.worker.plan import Retelling


@dataclass(frozen=True, slots=True)
class Told:
    """Stories that stand on tickets already: by comment its ticket and, from now on, its author; which open theirs."""

    tickets: Mapping[int, int]
    authors: Mapping[int, int | None]
    opening: Collection[int]


def find_told(
    conn: Connection, writes: Writes, holders: Holders, take: Take, retellings: Sequence[Retelling], now: datetime
) -> Told:
    """What the comments to be rewritten are; adds the rows that retelling them brings. A comment occurs once."""
    if not retellings:
        return Told({}, {}, ())
    numbers = [item.comment for item in retellings]
    told = {row.id: row for row in conn.execute(_TOLD, {"numbers": numbers})}
    callers = [(told[item.comment].author_id, item.message.author) for item in retellings]
    authors = meet_callers(writes, holders, callers, now, take)
    if any(row.has_files for row in told.values()):
        conn.execute(_FORGET_FILES, {"numbers": numbers})
    files = [
        {"comment_id": item.comment, "suspended_id": None, "id": take(t.attachments), **attachment_row(file)}
        for item in retellings
        for file in item.message.attachments
    ]
    people = [
        {"id": take(t.participants), "ticket_id": told[item.comment].ticket_id, "identity": person}
        for item in retellings
        for person in sorted(participants_of(item.message))
    ]
    writes.add(t.attachments, files)
    writes.add(t.participants, people, doubtful=True)
    return Told(
        tickets={number: row.ticket_id for number, row in told.items()},
        authors=dict(zip(numbers, authors, strict=True)),
        opening={number for number, row in told.items() if row.opener == number},
    )


def retell(conn: Connection, retellings: Sequence[Retelling], told: Told, now: datetime) -> None:
    """Rewrite the comments and their authors, who must be there by now, and the tickets they opened.

    The number of statements does not grow with the number of comments.
    """
    if retellings:
        _rewrite_comments(conn, retellings, told.authors)
        _rename_opened_tickets(conn, retellings, told, now)


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


def _rename_opened_tickets(conn: Connection, retellings: Sequence[Retelling], told: Told, now: datetime) -> None:
    """A ticket is called after its first comment and belongs to whoever wrote that."""
    rows = [
        {
            "b_id": told.tickets[item.comment],
            "b_subject": item.message.subject,
            "b_requester": told.authors[item.comment],
            "b_now": now,
        }
        for item in retellings
        if item.comment in told.opening
    ]
    if rows:
        conn.execute(_RENAME, rows)


_C: Final = t.comments.c
_OTHER: Final = t.comments.alias("other")
_OPENER: Final = select(func.min(_OTHER.c.id)).where(_OTHER.c.ticket_id == _C.ticket_id).scalar_subquery()
_HAS_FILES: Final = exists().where(t.attachments.c.comment_id == _C.id)
_TOLD: Final = select(_C.id, _C.ticket_id, _C.author_id, _OPENER.label("opener"), _HAS_FILES.label("has_files")).where(
    one_of(_C.id, "numbers")
)
_FORGET_FILES: Final = delete(t.attachments).where(one_of(t.attachments.c.comment_id, "numbers"))
_RENAME: Final = (
    update(t.tickets)
    .where(t.tickets.c.id == bindparam("b_id"))
    .values(
        subject=bindparam("b_subject"),
        requester_id=bindparam("b_requester"),
        updated_at=bindparam("b_now", type_=t.Instant),
    )
)
