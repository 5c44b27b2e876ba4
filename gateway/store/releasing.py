"""Held deliveries that come again under their old receipt: read again with today's code, or let in by a person.

Part of the record transaction. What may become of one is decided by its row here, under the ledger lock: it waits, and
nobody had it read again later than this. It is then taken out of the books and recorded like a delivery that was never
seen, by the same matching and against the same delivery keys; its row stays and says who did it. What is still held
stays where it is, with its new cause. Anything else that comes again finds its receipt and changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, RowMapping, and_, bindparam, delete, select, update

from gateway.store import tables as t
from gateway.store.rows import attachment_row, suspended_row
from gateway.store.values import one_of
from gateway.store.writing import Rows, insert_all, insert_new, next_ids
from gateway.worker.plan import Item
from normalizer.message import Message, Replay

_S: Final = t.suspended.c
_FIXED: Final = ("receipt_id", "received_at")  # what reading again cannot change
LONGEST_ACTOR: Final = 200


@dataclass(frozen=True, slots=True)
class Released:
    """One that is being recorded after all."""

    suspended_id: int
    receipt_id: UUID
    inbox: str
    cause: str
    key: str  # the delivery key under which it was held
    replay: Replay


def release(conn: Connection, items: Sequence[Item], now: datetime) -> tuple[Sequence[Item], list[Released]]:
    """Before a batch is planned: what is left to record, and what of it was held. Needs the ledger lock."""
    again = {item.receipt_id: item for item in items if item.replay is not None}
    if not again:
        return items, []
    released: list[Released] = []
    for row, item, replay in _waiting(conn, again):
        if isinstance(item, Message) and item.suspend:
            _hold_on(conn, row, item, replay, now)
        else:
            held_under = row["message"]["delivery_key"]
            released.append(Released(row["id"], row["receipt_id"], row["inbox"], row["cause"], held_under, replay))
    _take_out(conn, released, again)
    gone = {one.receipt_id for one in released}
    return [item for item in items if item.receipt_id not in gone or item is again[item.receipt_id]], released


def settle(
    conn: Connection, released: Sequence[Released], tickets: Mapping[UUID, tuple[str, int | None]], now: datetime
) -> None:
    """After the batch is written: the keys under which it was held, what became of it, and who did it.

    `tickets`: outcome and ticket by receipt.
    """
    if not released:
        return
    keys = [{"key": one.key, "receipt_id": one.receipt_id, "inbox": one.inbox, "created_at": now} for one in released]
    insert_new(conn, t.delivery_keys, keys)
    conn.execute(
        update(t.suspended)
        .where(_S.id == bindparam("b_id"))
        .values(decision="recovered", decided_by=bindparam("b_by"), decided_at=bindparam("b_at", type_=t.Instant)),
        [{"b_id": one.suspended_id, "b_by": one.replay.by[:LONGEST_ACTOR], "b_at": now} for one in released],
    )
    told = []
    for one in released:
        outcome, ticket = tickets[one.receipt_id]
        told.append(
            (ticket, one.replay.kind, _detail(one.suspended_id, one.receipt_id, one.cause, one.replay.by, outcome))
        )
    write_events(conn, told, now)


def write_events(conn: Connection, told: Sequence[tuple[int | None, str, Mapping[str, Any]]], now: datetime) -> None:
    """Ticket (or None), kind and detail of each, under the ledger lock."""
    first = next_ids(conn, [t.events])[t.events.name]
    rows = [
        {"id": first + number, "ticket_id": ticket, "kind": kind, "detail": dict(detail), "at": now}
        for number, (ticket, kind, detail) in enumerate(told)
    ]
    insert_all(conn, t.events, rows)


def _detail(suspended_id: int, receipt_id: UUID, cause: str, actor: str, outcome: str) -> dict[str, Any]:
    named = {"suspended_id": suspended_id, "receipt_id": str(receipt_id)}
    return {**named, "cause": cause, "actor": actor[:LONGEST_ACTOR], "outcome": outcome}


def _waiting(conn: Connection, again: Mapping[UUID, Item]) -> Iterator[tuple[RowMapping, Item, Replay]]:
    """The rows that may change now, and what comes of them."""
    columns = (_S.id, _S.receipt_id, _S.inbox, _S.cause, _S.message, _S.decision, _S.replayed_at)
    query = select(*columns).where(one_of(_S.receipt_id, sorted(again))).order_by(_S.id)
    for row in conn.execute(query).mappings().all():
        item = again[row["receipt_id"]]
        if item.replay is not None and _may_change(row, item.replay):
            yield row, item, item.replay


def _may_change(row: RowMapping, replay: Replay) -> bool:
    if replay.kind == "recovered":
        return bool(row["decision"] != "recovered")  # what was set aside may still be let in
    return row["decision"] is None and (row["replayed_at"] is None or row["replayed_at"] < replay.at)


def _take_out(conn: Connection, released: Sequence[Released], again: Mapping[UUID, Item]) -> None:
    """Forget receipt and keys until they are written anew, later in this transaction."""
    if not released:
        return
    ids = [one.receipt_id for one in released]
    keys = {one.key for one in released} | {again[one.receipt_id].delivery_key for one in released}
    columns = t.delivery_keys.c
    conn.execute(
        delete(t.delivery_keys).where(and_(one_of(columns.key, sorted(keys)), one_of(columns.receipt_id, ids)))
    )
    conn.execute(delete(t.receipts).where(one_of(t.receipts.c.receipt_id, ids)))


def _hold_on(conn: Connection, row: RowMapping, message: Message, replay: Replay, now: datetime) -> None:
    """It was read again and is still held: the row says today's cause, and the receipt too."""
    number = row["id"]
    changed = {name: value for name, value in suspended_row(message).items() if name not in _FIXED}
    marks = {"replayed_by": replay.by[:LONGEST_ACTOR], "replayed_at": replay.at}
    conn.execute(update(t.suspended).where(_S.id == number).values(changed | marks))
    conn.execute(update(t.receipts).where(t.receipts.c.receipt_id == message.receipt_id).values(reason=message.suspend))
    conn.execute(delete(t.attachments).where(t.attachments.c.suspended_id == number))
    free = next_ids(conn, [t.attachments])[t.attachments.name]
    files: Rows = [
        {"id": free + place, "comment_id": None, "suspended_id": number, **attachment_row(file)}
        for place, file in enumerate(message.attachments)
    ]
    insert_all(conn, t.attachments, files)
    key = {"key": message.delivery_key, "receipt_id": message.receipt_id, "inbox": message.inbox, "created_at": now}
    insert_new(conn, t.delivery_keys, [key])
    detail = _detail(number, message.receipt_id, row["cause"], replay.by, "suspended")
    write_events(conn, [(None, replay.kind, detail | {"now": message.suspend})], now)
