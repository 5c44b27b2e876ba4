"""A person decides about suspended messages: let them in as they are, or set them aside. Nothing is erased.

Zendesk's `recover` lets in; its delete sets aside, because only an explicit erasure deletes: the message leaves the
list and keeps its number, its bytes, its receipt, and the way back in.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, RowMapping, select, update

from gateway.store import tables as t
from gateway.store.engine import lock_ledger
from gateway.store.people import Ours
from gateway.store.record import record
from gateway.store.releasing import LONGEST_ACTOR, write_events
from gateway.store.values import one_of
from gateway.worker.evidence import Rules
from normalizer.message import Hit, Message, Replay

_S: Final = t.suspended.c
_BYTES: Final = ("content", "blob")


def recover(
    conn: Connection,
    ids: Sequence[int],
    *,
    actor: str,
    now: datetime,
    rules: Rules | None = None,
    ours: Ours | None = None,
) -> dict[int, int | None]:
    """Record these messages as they are, all in one transaction; the ticket of each number that there is.

    What is on a ticket already stays there: doing it twice changes nothing.
    """
    lock_ledger(conn)
    query = select(t.suspended).where(one_of(_S.id, list(ids)), _S.decision.is_distinct_from("recovered"))
    replay = Replay(kind="recovered", by=actor[:LONGEST_ACTOR], at=now)
    held = [stored_message(conn, row, replay) for row in conn.execute(query.order_by(_S.id)).mappings().all()]
    if held:
        record(conn, held, now, rules, ours)
    return tickets_of(conn, ids)


def reject(conn: Connection, ids: Sequence[int], *, actor: str, now: datetime) -> list[int]:
    """Set these messages aside; the numbers that there are. What is on a ticket stays there."""
    lock_ledger(conn)
    columns = (_S.id, _S.receipt_id, _S.cause, _S.decision)
    rows = conn.execute(select(*columns).where(one_of(_S.id, list(ids))).order_by(_S.id)).mappings().all()
    fresh = [row for row in rows if row["decision"] is None]
    if fresh:
        chosen = one_of(_S.id, [row["id"] for row in fresh])
        marks = {"decision": "rejected", "decided_by": actor[:LONGEST_ACTOR], "decided_at": now}
        conn.execute(update(t.suspended).where(chosen).values(marks))
        write_events(conn, [(None, "rejected", _detail(row, actor)) for row in fresh], now)
    return [row["id"] for row in rows]


def tickets_of(conn: Connection, ids: Sequence[int]) -> dict[int, int | None]:
    """The ticket each of these messages is on now; None for those that are on none."""
    receipts = t.receipts.c
    joined = select(_S.id, receipts.ticket_id).join_from(t.suspended, t.receipts, receipts.receipt_id == _S.receipt_id)
    return {row.id: row.ticket_id for row in conn.execute(joined.where(one_of(_S.id, list(ids))))}


def stored_message(conn: Connection, row: RowMapping, replay: Replay | None = None) -> Message:
    """The message in a row of `suspended`, with its bytes. With a `replay`: let in, and saying why it was held."""
    told: dict[str, Any] = dict(row["message"])
    files = [dict(file) for file in told.get("attachments") or ()]
    kept = select(t.attachments).where(t.attachments.c.suspended_id == row["id"]).order_by(t.attachments.c.id)
    for file, stored in zip(files, conn.execute(kept).mappings(), strict=True):
        file |= {name: stored[name] for name in _BYTES}
    told["attachments"] = files
    if told.get("original"):
        told["original"] = {**told["original"], "content": row["original"], "blob": row["original_blob"]}
    message = Message.model_validate(told)
    if replay is None:
        return message
    hit = Hit(name="released", reason=f"let in by {replay.by}; it was held: {row['cause']}")
    changes = {"suspend": "", "arrival": {}, "replay": replay, "problems": (*message.problems, hit)}
    return message.model_copy(update=changes)


def _detail(row: RowMapping, actor: str) -> dict[str, Any]:
    named = {"suspended_id": row["id"], "receipt_id": str(row["receipt_id"])}
    return {**named, "cause": row["cause"], "actor": actor[:LONGEST_ACTOR]}
