"""Moving comments between tickets, and what a ticket is once its comments have changed.

A comment takes along its evidence, its receipts and its replies under way, so later deliveries find it where it is now.
Everything else a ticket says of itself (who takes part, how many comments, since when somebody waits, whose it is) is
computed from the comments it holds.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    Connection,
    Integer,
    Table,
    Update,
    case,
    delete,
    or_,
    select,
    update,
)

from gateway.store import tables as t
from gateway.store.asking import Question, ask
from gateway.store.paging import Row
from gateway.store.values import one_of
from gateway.store.writing import Change, Rows, Writes, update_all
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
    people: dict[int, dict[str, int]]  # participants of each, with the number of the row that says so
    extras: dict[int, set[str]]  # those that no present comment explains (a call's earlier caller)
    unanswered: set[int]  # comments that a customer waits about

    def of(self, ticket: int) -> list[Row]:
        """The comments of one ticket."""
        return [row for row in self.comments if row["ticket_id"] == ticket]


def read_contents(conn: Connection, tickets: Iterable[int]) -> Contents:
    """Tickets with their comments, as far as corrections care."""
    ids = sorted(set(tickets))
    found, said, present = ask(conn, _CONTENTS, {"tickets": ids}).values()
    rows = {row.id: row._asdict() for row in found}
    said = sorted((row._asdict() for row in said), key=lambda row: row["id"])
    people: dict[int, dict[str, int]] = {ident: {} for ident in ids}
    for row in present:
        people[row.ticket_id][row.identity] = row.id
    extras = {
        ident: people[ident].keys() - participants(row for row in said if row["ticket_id"] == ident) for ident in ids
    }
    waits = {ident: row["customer_waits_since"] for ident, row in rows.items()}
    unanswered = {
        row["id"]
        for row in said
        if not row["automated"] and (since := waits.get(row["ticket_id"])) is not None and row["received_at"] >= since
    }
    return Contents(rows, said, people, extras, unanswered)


def read_fields(conn: Connection, tickets: Iterable[int]) -> dict[int, Row]:
    """What they say of themselves."""
    rows = conn.execute(_FIELDS, {"tickets": sorted(set(tickets))})
    return {row["id"]: dict(row) for row in rows.mappings()}


_T: Final = t.tickets.c
_C: Final = t.comments.c
_P: Final = t.participants.c
_FIELDS: Final = select(_T.id, *(_T[name] for name in FIELDS)).where(one_of(_T.id, "tickets"))
_CONTENTS: Final = (
    Question(_FIELDS),
    Question(select(*(_C[name] for name in _LIGHT)).where(one_of(_C.ticket_id, "tickets"))),
    Question(select(_P.id, _P.ticket_id, _P.identity).where(one_of(_P.ticket_id, "tickets"))),
)


def participants(comments: Iterable[Row]) -> set[str]:
    """From, To and Cc of stored comments, without our own addresses: `clues.participants_of` for rows. A machine's
    answer that a token brought here makes nobody take part."""
    found: set[str] = set()
    for row in comments:
        if (row["explanation"] or {}).get("rule") == "report":
            continue
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
        delivered = t.receipts.c
        mine = or_(
            one_of(delivered.comment_id, ids),
            one_of(delivered.receipt_id, receipts),
            one_of(delivered.duplicate_of, receipts),
        )
        evidence, replies = (
            update(table).where(table.c.ticket_id == source, one_of(table.c.comment_id, ids))
            for table in (t.thread_keys, t.outbox)
        )
        going = (
            update(t.comments).where(one_of(_C.id, ids)),
            evidence,
            replies,
            update(t.receipts).where(delivered.ticket_id == source, mine),
        )
        update_all(conn, [each.values(ticket_id=target) for each in going])


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
    writes = Writes(conn)
    gone: list[int] = []
    for ticket in after.tickets:
        held, present = after.of(ticket), after.people[ticket]
        wanted = participants(held) | extras.get(ticket, set())
        gone += [number for person, number in present.items() if person not in wanted]
        writes.add(t.participants, _take_part(ticket, wanted - present.keys(), take), doubtful=True)
        waits = min((row["received_at"] for row in held if row["id"] in unanswered), default=None)
        wakes = waits is not None and after.tickets[ticket]["status"] in ASLEEP
        writes.change(SETTLING, [{"id": ticket, "count": len(held), "waits": waits, "at": now, "wakes": wakes}])
    if gone:
        conn.execute(delete(t.participants).where(one_of(_P.id, gone)))
    writes.write()


def _take_part(ticket: int, people: Collection[str], take: Take) -> Rows:
    return [{"id": take(t.participants), "ticket_id": ticket, "identity": person} for person in sorted(people)]


def _settle(given: Mapping[str, ColumnElement[Any]]) -> Update:
    return (
        update(t.tickets)
        .where(_T.id == given["id"])
        .values(
            comment_count=given["count"],
            customer_waits_since=given["waits"],
            updated_at=given["at"],
            status=case((given["wakes"], "open"), else_=_T.status),
        )
    )


_SETTLED: Final[tuple[Column[Any], ...]] = (
    Column("id", t.Id),
    Column("count", Integer),
    Column("waits", t.Instant),
    Column("at", t.Instant),
    Column("wakes", Boolean),
)
SETTLING: Final = Change(_T.id, _SETTLED, _settle)


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


def _parts(values: Sequence[Any]) -> Iterable[Sequence[Any]]:
    return (values[start : start + _CHUNK] for start in range(0, len(values), _CHUNK))
