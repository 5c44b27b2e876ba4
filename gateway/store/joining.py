"""Customers who turn out to be one person: joined with everything that is theirs, and parted again.

A join is a correction: an event, with what takes it back. The joined customer keeps its number, which leads to the one
it was joined with. Parted again, each identity takes its own comments and tickets along, also those that came since.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, func, or_, select, tuple_, update

from gateway.store import tables as t
from gateway.store.journal import Done, Hand, conflict, invalid, missing
from gateway.store.paging import MAX_ID, Row

_CHUNK: Final = 400
_CHAIN: Final = 100  # joins are flat; a longer chain than this would be a loop


def customer_survivor(conn: Connection, customer_id: int) -> int:
    """The customer who is this one now: itself, unless it was joined with another."""
    columns = t.customers.c
    for _ in range(_CHAIN):
        target = conn.scalar(select(columns.merged_into).where(columns.id == customer_id))
        if target is None:
            break
        customer_id = target
    return customer_id


def join(hand: Hand, source_id: int, target_id: int, because: str, *, ticket_id: int | None = None) -> Done:
    """Make one customer part of another. What both know, the target keeps. Raises `CorrectionError`."""
    source, target = live_customer(hand.conn, source_id), live_customer(hand.conn, target_id)
    if source_id == target_id:
        raise invalid("id", "a user cannot be merged into itself")
    if source["external_id"] and target["external_id"]:
        raise invalid("external_id", "both have an external_id of their own: your systems say they are two people")
    changes = _move_everything(hand, source, target)
    where = ticket_id or _newest_ticket(hand.conn, target_id)
    detail = {"customer_id": source_id, "into": target_id, "name": source["name"], "because": because}
    event = hand.keep("joined", where, detail, changes, (f"customer:{source_id}", f"customer:{target_id}"))
    return Done(event, "joined", where, target_id)


def last_join_of(conn: Connection, customer_id: int) -> int:
    """The event that made this customer part of another. Raises `CorrectionError` when there is none standing."""
    touched, columns = t.correction_subjects.c, t.corrections.c
    query = (
        select(columns.id, columns.changes)
        .join_from(t.correction_subjects, t.corrections, columns.id == touched.correction_id)
        .where(touched.subject == f"customer:{customer_id}", columns.kind == "joined", columns.undone_at.is_(None))
        .order_by(columns.id.desc())
    )
    for row in conn.execute(query):
        if row.changes["source"] == customer_id:
            return int(row.id)
    if (
        not 0 < customer_id <= MAX_ID
        or conn.scalar(select(t.customers.c.id).where(t.customers.c.id == customer_id)) is None
    ):
        raise missing(f"there is no user {customer_id}")
    raise invalid("id", f"user {customer_id} is not part of another user")


def part(hand: Hand, changes: Row) -> int:
    """Undo a join; answers the customer who stands alone again. Raises `CorrectionError`."""
    conn, now = hand.conn, hand.now
    source, target = changes["source"], changes["target"]
    columns = t.customers.c
    if conn.scalar(select(columns.merged_into).where(columns.id == source)) != target:
        raise conflict(f"user {source} is not part of user {target} any more")
    if conn.scalar(select(columns.merged_into).where(columns.id == target)) is not None:
        raise conflict(f"user {target} has become part of another since; undo that first")
    _set(conn, t.identities.c.customer_id, changes["identities"], target, source)
    _give_back(conn, changes, source, target)
    _restore_customer(conn, changes, target, now)
    external_id = changes["external_id"]
    if external_id and conn.scalar(select(columns.id).where(columns.external_id == external_id)) is not None:
        external_id = None  # the company has given it to somebody else since
    alone = {"merged_into": None, "external_id": external_id, "updated_at": now}
    conn.execute(update(t.customers).where(columns.id == source).values(alone))
    _decline(hand, source, target)
    return int(source)


def live_customer(conn: Connection, customer_id: int) -> Row:
    """A customer who is not part of another. Raises `CorrectionError`."""
    row = None
    if 0 < customer_id <= MAX_ID:
        row = conn.execute(select(t.customers).where(t.customers.c.id == customer_id)).mappings().first()
    if row is None:
        raise missing(f"there is no user {customer_id}")
    if row["merged_into"] is not None:
        raise invalid("id", f"user {customer_id} was merged into user {row['merged_into']}")
    return dict(row)


def _move_everything(hand: Hand, source: Row, target: Row) -> Row:
    conn, now = hand.conn, hand.now
    old, new = source["id"], target["id"]
    changes: Row = {"source": old, "target": new, "external_id": source["external_id"]}
    changes["last_ticket"] = conn.scalar(select(func.max(t.tickets.c.id))) or 0
    for name, column in (
        ("identities", t.identities.c.customer_id),
        ("comments", t.comments.c.author_id),
        ("tickets", t.tickets.c.requester_id),
        ("led", t.customers.c.merged_into),
    ):
        table = column.table
        changes[name] = list(conn.scalars(select(table.c.id).where(column == old).order_by(table.c.id)))
        conn.execute(update(table).where(column == old).values({column.name: new}))
    added = {key: value for key, value in source["attributes"].items() if key not in target["attributes"]}
    taken = {
        "name": "" if target["name"] else source["name"],
        "language": "" if target["language"] else source["language"],
    }
    changes |= {"attributes": added, "taken": taken}
    conn.execute(
        update(t.customers).where(t.customers.c.id == old).values(merged_into=new, external_id=None, updated_at=now)
    )
    values = {key: value for key, value in taken.items() if value}
    if source["external_id"]:
        values["external_id"] = source["external_id"]
    attributes = {**target["attributes"], **added}
    conn.execute(
        update(t.customers).where(t.customers.c.id == new).values(**values, attributes=attributes, updated_at=now)
    )
    return changes


def _give_back(conn: Connection, changes: Row, source: int, target: int) -> None:
    """Comments that were the source's, and those its identities have written since; tickets that were, and of those
    since by who opened them: one of the target's may hold what was merged into it."""
    comments, tickets = t.comments.c, t.tickets.c
    back = list(changes["comments"])
    mine = conn.execute(
        select(t.identities.c.kind, t.identities.c.value).where(t.identities.c.id.in_(changes["identities"]))
    ).all()
    written = tuple_(comments.author_kind, comments.author_value).in_([(row.kind, row.value) for row in mine])
    if mine:
        back += conn.scalars(select(comments.id).where(comments.author_id == target, written))
    _set(conn, t.comments.c.author_id, sorted(set(back)), target, source)
    firsts = (
        select(func.min(comments.id))
        .join(t.tickets, tickets.id == comments.ticket_id)
        .where(tickets.requester_id == target, tickets.id > changes.get("last_ticket", 0))
        .group_by(comments.ticket_id)
    )
    opened = list(conn.scalars(select(comments.ticket_id).where(comments.id.in_(firsts), comments.author_id == source)))
    _set(conn, t.tickets.c.requester_id, sorted({*changes["tickets"], *opened}), target, source)
    _set(conn, t.customers.c.merged_into, changes["led"], target, source)


def _set(conn: Connection, column: Any, ids: Sequence[int], old: int, new: int) -> None:
    """The rows of the list that still say `old`."""
    for part_of in _parts(ids):
        rows = (column.table.c.id.in_(part_of)) & (column == old)
        conn.execute(update(column.table).where(rows).values({column.name: new}))


def _restore_customer(conn: Connection, changes: Row, target: int, now: datetime) -> None:
    """Attributes and name the target had only from the source, unless somebody has changed them since."""
    row = conn.execute(select(t.customers).where(t.customers.c.id == target)).mappings().one()
    added = changes["attributes"]
    kept = {key: value for key, value in row["attributes"].items() if key not in added or added[key] != value}
    values: Row = {"attributes": kept, "updated_at": now}
    values |= {name: "" for name, value in changes["taken"].items() if value and row[name] == value}
    if changes["external_id"] and row["external_id"] == changes["external_id"]:
        values["external_id"] = None
    conn.execute(update(t.customers).where(t.customers.c.id == target).values(values))


def _decline(hand: Hand, source: int, target: int) -> None:
    """The claims that tied the two are refused from now on: the next message must not join them again."""
    mine, theirs = (_names(hand.conn, [ident]) for ident in (source, target))
    columns = t.claims.c
    tying = or_(
        columns.author.in_(mine) & columns.claimed.in_(theirs), columns.author.in_(theirs) & columns.claimed.in_(mine)
    )
    refused = {"state": "declined", "decided_by": hand.actor, "decided_at": hand.now}
    hand.conn.execute(update(t.claims).where(tying).values(refused))


def _names(conn: Connection, customers: Iterable[int]) -> list[str]:
    columns = t.identities.c
    rows = conn.execute(select(columns.kind, columns.value).where(columns.customer_id.in_(list(customers))))
    return [f"{row.kind}:{row.value}" for row in rows]


def _newest_ticket(conn: Connection, customer_id: int) -> int | None:
    """Where people see that two customers became one."""
    columns = t.tickets.c
    query = select(columns.id).where(columns.requester_id == customer_id, columns.merged_into.is_(None))
    return conn.scalar(query.order_by(columns.id.desc()).limit(1))


def _parts(values: Sequence[int]) -> Iterable[Sequence[int]]:
    return (values[start : start + _CHUNK] for start in range(0, len(values), _CHUNK))
