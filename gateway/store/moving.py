"""Moving comments between tickets, and what a ticket is once its comments have changed.

A comment takes along its evidence, its receipts and its replies under way, so later deliveries find it where it is now.
Everything else a ticket says of itself (who takes part, how many comments, since when somebody waits, whose it is) is
computed from the comments it holds.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Table, and_, delete, or_, select, update

from gateway.store import tables as t
from gateway.store.paging import Row
from gateway.store.writing import insert_new
from normalizer.message import LONGEST_ADDRESS

FIELDS: Final = (
    "subject", "status", "requester_id", "channel", "inbox", "language", "customer_waits_since", "comment_count",
    "merged_into",
)  # fmt: skip
ASLEEP: Final = ("pending", "hold", "solved")
_CHUNK: Final = 400
_LIGHT: Final = (
    "id", "ticket_id", "receipt_id", "author_id", "author_kind", "author_value", "recipients", "automated",
    "received_at", "explanation",
)  # fmt: skip

Take = Callable[[Table], int]


@dataclass(frozen=True, slots=True)
class Contents:
    """What some tickets hold and say of themselves at one moment."""

    tickets: dict[int, Row]  # FIELDS and id
    comments: list[Row]  # the light columns, oldest number first
    extras: dict[int, set[str]]  # participants that no present comment explains (a call's earlier caller)
    unanswered: set[int]  # comments that a customer waits about

    def of(self, ticket: int) -> list[Row]:
        """The comments of one ticket."""
        return [row for row in self.comments if row["ticket_id"] == ticket]


def read_contents(conn: Connection, tickets: Iterable[int]) -> Contents:
    """Tickets with their comments, as far as corrections care."""
    ids = sorted(set(tickets))
    columns = [t.tickets.c.id, *(t.tickets.c[name] for name in FIELDS)]
    rows = {row["id"]: dict(row) for row in conn.execute(select(*columns).where(t.tickets.c.id.in_(ids))).mappings()}
    light = [t.comments.c[name] for name in _LIGHT]
    query = select(*light).where(t.comments.c.ticket_id.in_(ids)).order_by(t.comments.c.id)
    said = [dict(row) for row in conn.execute(query).mappings()]
    people = t.participants.c
    present: dict[int, set[str]] = {ident: set() for ident in ids}
    for ticket, identity in conn.execute(select(people.ticket_id, people.identity).where(people.ticket_id.in_(ids))):
        present[ticket].add(identity)
    extras = {ident: present[ident] - participants(row for row in said if row["ticket_id"] == ident) for ident in ids}
    waits = {ident: row["customer_waits_since"] for ident, row in rows.items()}
    unanswered = {
        row["id"]
        for row in said
        if not row["automated"] and (since := waits.get(row["ticket_id"])) is not None and row["received_at"] >= since
    }
    return Contents(rows, said, extras, unanswered)


def participants(comments: Iterable[Row]) -> set[str]:
    """From, To and Cc of stored comments, without our own addresses: `clues.participants_of` for rows."""
    found: set[str] = set()
    for row in comments:
        people = [entry for entry in row["recipients"] or () if isinstance(entry, dict) and entry.get("value")]
        ours = {entry["value"] for entry in people if entry.get("role") == "envelope"}
        named = [(row["author_kind"], row["author_value"])]
        named += [(e.get("kind", ""), e["value"]) for e in people if e.get("role") != "envelope"]
        found |= {
            f"{kind}:{value}" for kind, value in named if value and value not in ours and len(value) <= LONGEST_ADDRESS
        }
    return found


def move_comments(conn: Connection, moved: Sequence[Row], source: int, target: int) -> None:
    """Comments with their evidence, receipts (those of their duplicates too) and replies under way."""
    for part in _parts(moved):
        ids = [row["id"] for row in part]
        receipts = [row["receipt_id"] for row in part]
        conn.execute(update(t.comments).where(t.comments.c.id.in_(ids)).values(ticket_id=target))
        for table in (t.thread_keys, t.outbox):
            rows = and_(table.c.ticket_id == source, table.c.comment_id.in_(ids))
            conn.execute(update(table).where(rows).values(ticket_id=target))
        delivered = t.receipts.c
        mine = or_(
            delivered.comment_id.in_(ids), delivered.receipt_id.in_(receipts), delivered.duplicate_of.in_(receipts)
        )
        conn.execute(update(t.receipts).where(delivered.ticket_id == source, mine).values(ticket_id=target))


def keys_without_comment(conn: Connection, ticket: int) -> list[int]:
    """Evidence that belongs to the ticket and to no comment: that its own number names it."""
    columns = t.thread_keys.c
    return list(conn.scalars(select(columns.id).where(columns.ticket_id == ticket, columns.comment_id.is_(None))))


def move_keys(conn: Connection, ids: Collection[int], target: int) -> None:
    """Evidence rows to another ticket."""
    for part in _parts(sorted(ids)):
        conn.execute(update(t.thread_keys).where(t.thread_keys.c.id.in_(part)).values(ticket_id=target))


def settle(
    conn: Connection,
    tickets: Iterable[int],
    extras: dict[int, set[str]],
    unanswered: set[int],
    take: Take,
    now: datetime,
) -> None:
    """After a move: participants, counts and waiting times of the tickets, from the comments they hold now."""
    after = read_contents(conn, tickets)
    for ticket in after.tickets:
        held = after.of(ticket)
        _set_participants(conn, ticket, participants(held) | extras.get(ticket, set()), take)
        waiting = [row["received_at"] for row in held if row["id"] in unanswered]
        values: Row = {
            "comment_count": len(held),
            "customer_waits_since": min(waiting, default=None),
            "updated_at": now,
        }
        if waiting and after.tickets[ticket]["status"] in ASLEEP:
            values["status"] = "open"
        conn.execute(update(t.tickets).where(t.tickets.c.id == ticket).values(values))


def rename(conn: Connection, ticket: int, headline: Callable[[str], str]) -> None:
    """Name a ticket after its first comment: when the one that opened it has left, its subject, requester, channel,
    inbox and language would go on telling what somebody else wrote."""
    query = select(t.comments).where(t.comments.c.ticket_id == ticket).order_by(t.comments.c.id).limit(1)
    first = dict(conn.execute(query).mappings().one())
    conn.execute(update(t.tickets).where(t.tickets.c.id == ticket).values(named_after(first, headline)))


def named_after(first: Row, headline: Callable[[str], str]) -> Row:
    """What a ticket takes from the comment that opens it."""
    return {
        "subject": first["subject"] or headline(first["text"]),
        "requester_id": first["author_id"],
        "channel": first["channel"],
        "inbox": first["inbox"],
        "language": first["language"],
    }


def _set_participants(conn: Connection, ticket: int, wanted: set[str], take: Take) -> None:
    columns = t.participants.c
    present = set(conn.scalars(select(columns.identity).where(columns.ticket_id == ticket)))
    for part in _parts(sorted(present - wanted)):
        conn.execute(delete(t.participants).where(columns.ticket_id == ticket, columns.identity.in_(part)))
    rows = [
        {"id": take(t.participants), "ticket_id": ticket, "identity": person} for person in sorted(wanted - present)
    ]
    insert_new(conn, t.participants, rows)


def _parts(values: Sequence[Any]) -> Iterable[Sequence[Any]]:
    return (values[start : start + _CHUNK] for start in range(0, len(values), _CHUNK))
