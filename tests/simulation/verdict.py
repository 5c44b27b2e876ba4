"""What the database holds, against what was true: every difference in a sentence."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, func, select

from gateway.store import tables as t
from gateway.worker.plan import Item
from normalizer.message import Message, Update
from tests.simulation.desk import GATEWAYS, Delivery


def differences(conn: Connection, deliveries: Sequence[Delivery], items: Sequence[Item]) -> list[str]:
    """Empty when nothing is missing, nothing extra and nothing on a wrong ticket."""
    truth = {item.receipt_id: delivery for item, delivery in zip(items, deliveries, strict=True)}
    receipts = {row.receipt_id: row for row in conn.execute(select(t.receipts))}
    columns = t.comments.c
    comments = {row.receipt_id: row.ticket_id for row in conn.execute(select(columns.receipt_id, columns.ticket_id))}
    return [
        *_balance(conn, truth, receipts),
        *_comments(truth, comments),
        *_tickets(conn, truth, comments),
        *_outcomes(truth, receipts, comments),
        *_counters(conn),
        *_people(conn, items),
    ]


def _balance(conn: Connection, truth: Mapping[UUID, Delivery], receipts: Mapping[UUID, Row[Any]]) -> Iterable[str]:
    """As the audit: every number a gateway gave out has its receipt, and every receipt its number."""
    if missing := truth.keys() - receipts.keys():
        yield f"{len(missing)} deliveries without a receipt, such as {truth[next(iter(missing))]}"
    if extra := receipts.keys() - truth.keys():
        yield f"{len(extra)} receipts of nothing"
    for gateway in GATEWAYS:
        numbers = sorted(row.sequence for row in receipts.values() if row.gateway == gateway)
        if numbers != list(range(1, len(numbers) + 1)):
            yield f"the numbers of {gateway} have gaps or repetitions"
    keys = conn.scalar(select(func.count()).select_from(t.delivery_keys)) or 0
    first = sum(1 for row in receipts.values() if row.outcome != "duplicate")
    if keys != first:
        yield f"{keys} delivery keys for {first} deliveries that are no duplicates"


def _comments(truth: Mapping[UUID, Delivery], comments: Mapping[UUID, int]) -> Iterable[str]:
    """One comment a message."""
    said = Counter(truth[receipt].message for receipt in comments)
    expected = {delivery.message for delivery in truth.values() if not delivery.fate}
    yield from (f"message {name} is on {count} comments" for name, count in said.items() if count > 1)
    yield from (f"message {name} has no comment" for name in expected - said.keys())
    yield from (f"message {name} has a comment and should not" for name in said.keys() - expected)


def _tickets(conn: Connection, truth: Mapping[UUID, Delivery], comments: Mapping[UUID, int]) -> Iterable[str]:
    """The same messages together: neither two true tickets on one, nor one on two."""
    by_ticket: dict[int, set[str]] = defaultdict(set)
    by_truth: dict[str, set[int]] = defaultdict(set)
    members: dict[str, list[Delivery]] = defaultdict(list)
    for receipt, ticket in comments.items():
        by_ticket[ticket].add(truth[receipt].ticket)
        by_truth[truth[receipt].ticket].add(ticket)
        members[truth[receipt].ticket].append(truth[receipt])
    for ticket, names in by_ticket.items():
        if len(names) > 1:
            yield f"ticket {ticket} holds {len(names)} matters: {[members[name] for name in sorted(names)]}"
    for name, tickets in by_truth.items():
        if len(tickets) > 1:
            yield f"matter {name} is on tickets {sorted(tickets)}: {members[name]}"
    columns = t.tickets.c
    open_tickets = set(conn.scalars(select(columns.id).where(columns.merged_into.is_(None))))
    if empty := open_tickets - by_ticket.keys():
        yield f"{len(empty)} tickets without a comment"
    if gone := by_ticket.keys() - open_tickets:
        yield f"{len(gone)} tickets were merged away and still have comments"


def _outcomes(
    truth: Mapping[UUID, Delivery], receipts: Mapping[UUID, Row[Any]], comments: Mapping[UUID, int]
) -> Iterable[str]:
    """Each delivery one outcome that fits, and every receipt points where its words are."""
    where = {truth[receipt].message: ticket for receipt, ticket in comments.items()}
    for receipt, row in receipts.items():
        delivery = truth.get(receipt)
        if delivery is None:
            continue
        allowed = {delivery.fate} if delivery.fate else {"ticketed", "appended", "duplicate", "updated"}
        if row.outcome not in allowed and not (delivery.fate and row.outcome == "duplicate"):
            yield f"{delivery} ended as {row.outcome}"
        if row.outcome in ("ticketed", "appended") and comments.get(receipt) != row.ticket_id:
            yield f"the receipt of {delivery} names ticket {row.ticket_id}, its comment is on {comments.get(receipt)}"
        if row.outcome == "duplicate" and truth[row.duplicate_of].message != delivery.message:
            yield f"{delivery} is called a duplicate of {truth[row.duplicate_of]}"
        if row.outcome == "duplicate" and row.ticket_id not in (None, where.get(delivery.message)):
            yield f"the copy {delivery} names ticket {row.ticket_id}, not {where.get(delivery.message)}"


def _counters(conn: Connection) -> Iterable[str]:
    counted = select(t.comments.c.ticket_id, func.count().label("found")).group_by(t.comments.c.ticket_id).subquery()
    columns = t.tickets.c
    wrong = select(columns.id).join(counted, counted.c.ticket_id == columns.id)
    for ticket in conn.scalars(wrong.where(columns.comment_count != counted.c.found)):
        yield f"ticket {ticket} does not know how many comments it has"


def _people(conn: Connection, items: Sequence[Item]) -> Iterable[str]:
    """Every address that wrote is one identity of one customer."""
    columns = t.identities.c
    known = Counter(f"{row.kind}:{row.value}" for row in conn.execute(select(columns.kind, columns.value)))
    wrote = {identity for item in items if (identity := _author(item))}
    yield from (f"{identity} is {count} identities" for identity, count in known.items() if count > 1)
    yield from (f"{identity} wrote and is nobody" for identity in wrote - known.keys())
    yield from (f"{identity} never wrote" for identity in known.keys() - wrote)


def _author(item: Item) -> str | None:
    if isinstance(item, Message):
        return item.author.identity if not item.suspend and item.author.trust != "failed" else None
    return item.author.identity if isinstance(item, Update) and item.author is not None else None
