"""Comments whose story has changed: another fact of a call arrived after its comment was written."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Column, ColumnElement, Connection, Update, delete, exists, func, select, update

from gateway.store import tables as t
from gateway.store.people import Holders, Take, meet_callers
from gateway.store.rows import attachment_row, author_row
from gateway.store.values import one_of
from gateway.store.writing import Change, Writes
from gateway.worker.clues import participants_of
from gateway.worker.plan import Retelling


@dataclass(frozen=True, slots=True)
class Named:
    """What a ticket is called after its first comment was told anew, and whose it is."""

    subject: str
    requester_id: int | None


@dataclass(frozen=True, slots=True)
class Told:
    """Stories that stand on tickets already: by comment its ticket, and by ticket what those become that they open."""

    tickets: Mapping[int, int]
    renamed: Mapping[int, Named]


def ask_told(conn: Connection, abouts: Collection[str]) -> Sequence[Any]:
    """Where the stories of these stand."""
    return conn.execute(TOLD, {"abouts": abouts}).all()


def retell(
    conn: Connection,
    writes: Writes,
    holders: Holders,
    take: Take,
    retellings: Sequence[Retelling],
    standing: Iterable[Any],
    now: datetime,
) -> Told:
    """Adds what rewrites the comments, their files and who takes part. A comment occurs once.

    `standing`: what `TOLD` answers about them, as it is when this is written.
    """
    if not retellings:
        return Told({}, {})
    stands = {row.id: row for row in standing}
    numbers = [item.comment for item in retellings]
    callers = [(stands[item.comment].author_id, item.message.author) for item in retellings]
    authors = dict(zip(numbers, meet_callers(writes, holders, callers, now, take), strict=True))
    if with_files := [number for number in numbers if stands[number].has_files]:
        conn.execute(_FORGET_FILES, {"numbers": with_files})
    for item in retellings:
        _rewrite(writes, item, stands[item.comment].ticket_id, authors[item.comment], take)
    return Told(
        tickets={number: stands[number].ticket_id for number in numbers},
        renamed={
            stands[item.comment].ticket_id: Named(item.message.subject, authors[item.comment])
            for item in retellings
            if stands[item.comment].opener == item.comment
        },
    )


def _rewrite(writes: Writes, item: Retelling, ticket: int, author: int | None, take: Take) -> None:
    message = item.message
    new = {name: getattr(message, name) for name in ("subject", "text", "fields", "sent_at")}
    writes.change(RETELLING, [{"id": item.comment, "author_id": author, **new, **author_row(message.author)}])
    files = [
        {"comment_id": item.comment, "suspended_id": None, "id": take(t.attachments), **attachment_row(file)}
        for file in message.attachments
    ]
    writes.add(t.attachments, files)
    people = [
        {"id": take(t.participants), "ticket_id": ticket, "identity": person}
        for person in sorted(participants_of(message))
    ]
    writes.add(t.participants, people, doubtful=True)


_C: Final = t.comments.c
_F: Final = t.folded.c
_OTHER: Final = t.comments.alias("other")
_OPENER: Final = select(func.min(_OTHER.c.id)).where(_OTHER.c.ticket_id == _C.ticket_id).scalar_subquery()
_HAS_FILES: Final = exists().where(t.attachments.c.comment_id == _C.id)
# The comments that tell stories: by what they are about, with the first comment of their ticket.
TOLD: Final = (
    select(_F.about, _C.id, _C.ticket_id, _C.author_id, _C.author_kind, _C.author_value)
    .add_columns(_OPENER.label("opener"), _HAS_FILES.label("has_files"))
    .join_from(t.folded, t.comments, _C.id == _F.comment_id)
    .where(one_of(_F.about, "abouts"))
)
_FORGET_FILES: Final = delete(t.attachments).where(one_of(t.attachments.c.comment_id, "numbers"))


def _rewritten(given: Mapping[str, ColumnElement[Any]]) -> Update:
    whose = update(t.comments).where(_C.id == given["id"])
    return whose.values({name: value for name, value in given.items() if name != "id"})


_AUTHOR: Final = (_C.author_id, _C.author_name, _C.author_kind, _C.author_value, _C.author_trust, _C.author_evidence)
_RETOLD: Final[tuple[Column[Any], ...]] = (_C.id, _C.subject, _C.text, _C.fields, _C.sent_at, *_AUTHOR)
RETELLING: Final = Change(_C.id, _RETOLD, _rewritten)
