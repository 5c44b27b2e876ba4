"""The book of corrections: what people (or proofs) changed, by whom, and what takes it back.

Every correction is an event and a row of `corrections` with the same number. What it touched is listed as subjects;
corrections of one subject are undone last to first, because an earlier one no longer finds what it left behind.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal

from sqlalchemy import Connection, Table, exists, select, update

from gateway.store import tables as t
from gateway.store.engine import lock_ledger
from gateway.store.moving import Take
from gateway.store.paging import MAX_ID, Row
from gateway.store.writing import Writes, insert_all, next_ids

NUMBERED: Final = (
    t.tickets,
    t.ticket_links,
    t.thread_keys,
    t.participants,
    t.events,
    t.customers,
    t.identities,
    t.claims,
)
LONGEST_ACTOR: Final = 200
_CHUNK: Final = 400


class CorrectionError(Exception):
    """It cannot be done. `str(error)` is a sentence for the person who asked.

    `missing`: there is no such thing; `invalid`: it makes no sense as asked (`field` names what was wrong);
    `conflict`: it made sense once, but something has happened since.
    """

    def __init__(self, kind: Literal["missing", "invalid", "conflict"], sentence: str, field: str = "base") -> None:
        super().__init__(sentence)
        self.kind, self.field = kind, field


def missing(sentence: str) -> CorrectionError:
    return CorrectionError("missing", sentence)


def invalid(field: str, sentence: str) -> CorrectionError:
    return CorrectionError("invalid", sentence, field)


def conflict(sentence: str) -> CorrectionError:
    return CorrectionError("conflict", sentence)


@dataclass(frozen=True, slots=True)
class Done:
    """A correction that was made. `ticket_id`: where to look now."""

    event_id: int
    kind: str
    ticket_id: int | None = None
    customer_id: int | None = None


@dataclass(frozen=True, slots=True)
class Hand:
    """Who corrects something, when, and the numbers that the new rows get."""

    conn: Connection
    actor: str
    now: datetime
    take: Take

    def keep(self, kind: str, ticket_id: int | None, detail: Row, changes: Row, subjects: Iterable[str]) -> int:
        """Write a correction that was just made: its event, what takes it back, what it touched. The event's id."""
        number, actor = self.take(t.events), self.actor[:LONGEST_ACTOR]
        event: Row = {"id": number, "ticket_id": ticket_id, "kind": kind}
        event["detail"] = {**detail, "on": ticket_id, "actor": actor}
        row = {"id": number, "kind": kind, "actor": actor, "changes": changes, "at": self.now}
        touched = [{"subject": subject, "correction_id": number} for subject in dict.fromkeys(subjects)]
        writes = Writes(self.conn)
        writes.add(t.events, [event | {"at": self.now}])
        writes.add(t.corrections, [row | {"undone_at": None, "undone_by": ""}])
        writes.add(t.correction_subjects, touched, doubtful=True)
        writes.write()
        return number

    def close(self, correction: Row, ticket_id: int | None) -> int:
        """Note that a correction was undone. The id of the event that says so."""
        number, actor = self.take(t.events), self.actor[:LONGEST_ACTOR]
        mine = t.corrections.c.id == correction["id"]
        self.conn.execute(update(t.corrections).where(mine).values(undone_at=self.now, undone_by=actor))
        detail = {"event_id": correction["id"], "what": correction["kind"], "actor": actor}
        row = {"id": number, "ticket_id": ticket_id, "kind": "undone", "detail": detail, "at": self.now}
        insert_all(self.conn, t.events, [row])
        return number


def by_hand(conn: Connection, actor: str, now: datetime) -> Hand:
    """Take the ledger lock and be ready to correct."""
    lock_ledger(conn)
    free = next_ids(conn, NUMBERED)

    def take(table: Table) -> int:
        number = free[table.name]
        free[table.name] = number + 1
        return number

    return Hand(conn, actor, now, take)


def get_correction(conn: Connection, event_id: int) -> Row:
    """One that can be undone now. Raises `CorrectionError`."""
    if not 0 < event_id <= MAX_ID:
        raise missing(f"there is no event {event_id}")
    row = conn.execute(select(t.corrections).where(t.corrections.c.id == event_id)).mappings().first()
    if row is None:
        kind = conn.scalar(select(t.events.c.kind).where(t.events.c.id == event_id))
        if kind is None:
            raise missing(f"there is no event {event_id}")
        raise invalid("id", f"event {event_id} ({kind}) is no correction; only corrections can be undone")
    if row["undone_at"] is not None:
        when = row["undone_at"].astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
        raise conflict(f"event {event_id} was undone by {row['undone_by']} on {when}")
    _refuse_if_built_upon(conn, event_id)
    return dict(row)


def _refuse_if_built_upon(conn: Connection, event_id: int) -> None:
    subjects, corrections = t.correction_subjects, t.corrections
    mine = subjects.alias("mine")
    touches_mine = exists().where(
        mine.c.correction_id == event_id,
        mine.c.subject == subjects.c.subject,
        subjects.c.correction_id == corrections.c.id,
    )
    query = (
        select(corrections.c.id, corrections.c.kind, corrections.c.actor)
        .where(corrections.c.id > event_id, corrections.c.undone_at.is_(None), touches_mine)
        .order_by(corrections.c.id.desc())
        .limit(1)
    )
    later = conn.execute(query).first()
    if later is not None:
        raise conflict(f"event {later.id} ({later.kind}, by {later.actor}) came after it; undo that one first")


def corrections_of(conn: Connection, subjects: Sequence[str]) -> dict[str, list[Row]]:
    """Corrections by what they touched (`comment:12`), oldest first, undone ones included, without their changes."""
    found: dict[str, list[Row]] = {}
    touched, columns = t.correction_subjects.c, t.corrections.c
    shown = (touched.subject, columns.id, columns.kind, columns.actor, columns.at, columns.undone_at, columns.undone_by)
    for start in range(0, len(subjects), _CHUNK):
        query = (
            select(*shown, t.events.c.detail)
            .join_from(t.correction_subjects, t.corrections, columns.id == touched.correction_id)
            .join(t.events, t.events.c.id == columns.id)
            .where(touched.subject.in_(subjects[start : start + _CHUNK]))
            .order_by(columns.id)
        )
        for row in conn.execute(query).mappings():
            found.setdefault(row["subject"], []).append({name: row[name] for name in row if name != "subject"})
    return found


def standing(conn: Connection, event_ids: Sequence[int]) -> dict[int, Row]:
    """For those events that are corrections: `{undone_at, undone_by}`."""
    columns = t.corrections.c
    return {
        row["id"]: dict(row)
        for start in range(0, len(event_ids), _CHUNK)
        for row in conn.execute(
            select(columns.id, columns.undone_at, columns.undone_by).where(
                columns.id.in_(event_ids[start : start + _CHUNK])
            )
        ).mappings()
    }


def as_json(row: Row) -> Row:
    """A row as it can be kept in a document."""
    return {name: _pack(value) for name, value in row.items()}


def from_json(row: Row) -> Row:
    """The row again."""
    return {name: _unpack(name, value) for name, value in row.items()}


_MOMENTS: Final = frozenset({"customer_waits_since", "created_at", "updated_at", "at"})


def _pack(value: Any) -> Any:
    return value.astimezone(UTC).isoformat() if isinstance(value, datetime) else value


def _unpack(name: str, value: Any) -> Any:
    return datetime.fromisoformat(value) if name in _MOMENTS and isinstance(value, str) else value
