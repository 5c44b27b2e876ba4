"""Reading receipts: what became of each accepted delivery."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import Connection, func, select

from gateway.store.paging import Row
from gateway.store.tables import receipts
from gateway.store.tickets import survivor


def get_receipt(conn: Connection, receipt_id: UUID) -> Row | None:
    """One receipt; `ticket_id` is the ticket that holds it now, also after a merge. None: not recorded (yet)."""
    row = conn.execute(select(receipts).where(receipts.c.receipt_id == receipt_id)).mappings().first()
    if row is None:
        return None
    receipt = dict(row)
    if receipt["ticket_id"] is None and receipt["duplicate_of"] is not None:
        # The first delivery was held when this one was recorded, and may have been let in since.
        first = select(receipts.c.ticket_id, receipts.c.comment_id).where(receipts.c.receipt_id == row["duplicate_of"])
        receipt |= conn.execute(first).mappings().first() or {}
    if receipt["ticket_id"] is not None:
        receipt["ticket_id"] = survivor(conn, receipt["ticket_id"])
    return receipt


def outcome_table(conn: Connection) -> dict[str, dict[str, int]]:
    """Receipts by channel, then by outcome."""
    table: dict[str, dict[str, int]] = {}
    query = select(receipts.c.channel, receipts.c.outcome, func.count()).group_by(
        receipts.c.channel, receipts.c.outcome
    )
    for channel, outcome, count in conn.execute(query):
        table.setdefault(channel, {})[outcome] = count
    return table
