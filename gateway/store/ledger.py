"""The ledger's other rows: dead letters, and what gateway lives say of themselves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, delete, or_, select

from gateway.store import tables as t
from gateway.store.engine import lock_ledger
from gateway.store.writing import insert_all, insert_new, next_ids, upsert
from normalizer.message import Tally


def record_dead(conn: Connection, rows: Iterable[Mapping[str, Any]], now: datetime) -> None:
    """Keep messages that cannot be recorded, whole, with their reason; a receipt already recorded stays as it is.

    Each row: receipt_id, gateway, sequence, channel, inbox, type, body, reason, attempts, received_at. The last one
    counts of several with one receipt: a letter that was replayed twice, or published again after a lost confirm.
    """
    lock_ledger(conn)
    rows = list({row["receipt_id"]: row for row in rows}.values())
    keys = ("receipt_id", "gateway", "sequence", "channel", "inbox", "reason", "received_at")
    receipts = [{key: row[key] for key in keys} | {"outcome": "dead", "recorded_at": now} for row in rows]
    existing = set(
        conn.scalars(
            select(t.receipts.c.receipt_id).where(
                t.receipts.c.receipt_id.in_([row["receipt_id"] for row in rows]), t.receipts.c.outcome != "dead"
            )
        )
    )
    fresh = [row for row in rows if row["receipt_id"] not in existing]
    insert_new(conn, t.receipts, [row for row in receipts if row["receipt_id"] not in existing])
    ids = iter(range(next_ids(conn, [t.dead_letters])[t.dead_letters.name], 1 << 62))
    letters = ("receipt_id", "channel", "inbox", "type", "body", "reason", "attempts")
    conn.execute(delete(t.dead_letters).where(t.dead_letters.c.receipt_id.in_([row["receipt_id"] for row in fresh])))
    insert_all(
        conn, t.dead_letters, [{key: row[key] for key in letters} | {"id": next(ids), "died_at": now} for row in fresh]
    )


def record_tallies(conn: Connection, tallies: Iterable[Tally]) -> None:
    """Keep what gateway lives say of themselves; an older tally never replaces a newer one.

    Its numbers tell which is newer, as they only grow, and not its time: clocks are set back.
    """
    kept = t.gateway_lives.c
    for tally in tallies:
        row = tally.model_dump() | {"given_up": list(tally.given_up)}
        statement = upsert(conn, t.gateway_lives).values(row)
        said = statement.excluded
        newer = {key: said[key] for key in ("accepted", "settled", "given_up", "ended", "updated_at")}
        grown = and_(kept.accepted <= said.accepted, kept.settled <= said.settled, or_(~kept.ended, said.ended))
        conn.execute(statement.on_conflict_do_update(index_elements=["gateway"], set_=newer, where=grown))
