"""Everything known about one delivery: what arrived, its outcome, by which rule and evidence, what was refused and why,
of which receipt it is a duplicate, and what people have corrected since."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from sqlalchemy import Connection, select

from gateway.store.journal import corrections_of
from gateway.store.paging import Row
from gateway.store.receipts import get_receipt
from gateway.store.tables import comments, dead_letters, suspended, tickets
from gateway.store.tickets import survivor

_SHOWN: Final = (
    "id", "ticket_id", "receipt_id", "channel", "inbox", "external_id", "author_id", "author_name", "author_kind",
    "author_value", "author_trust", "author_evidence", "subject", "text", "language", "verdict", "matched_by",
    "explanation", "automated", "problems", "repeat_of", "original_type", "sent_at", "received_at",
)  # fmt: skip
_WORDS: Final = 2_000  # characters of what was said


def explain(conn: Connection, receipt_id: UUID) -> Row | None:
    """None when nothing is recorded under this receipt.

    `receipt`; `first`: the receipt of which it is a duplicate; `comment`: the one it made or completed, with
    `explanation` (rule, evidence, rejected tickets with their present numbers); `ticket`: number and subject; `cause`:
    why it is held or died; `corrections` of the comment, oldest first.
    """
    receipt = get_receipt(conn, receipt_id)
    if receipt is None:
        return None
    first = get_receipt(conn, receipt["duplicate_of"]) if receipt["duplicate_of"] else None
    comment = _comment(conn, receipt)
    ticket_id = survivor(conn, comment["ticket_id"]) if comment else receipt["ticket_id"]
    corrected = corrections_of(conn, [f"comment:{comment['id']}"]) if comment else {}
    return {
        "receipt": receipt,
        "first": first,
        "comment": comment,
        "ticket": _ticket(conn, ticket_id) if ticket_id else None,
        "cause": _cause(conn, receipt_id),
        "corrections": [row for rows in corrected.values() for row in rows],
    }


def _comment(conn: Connection, receipt: Row) -> Row | None:
    """The comment of the receipt itself, or the one it repeats or completes."""
    columns = [comments.c[name] for name in _SHOWN]
    for condition in (
        comments.c.receipt_id == receipt["receipt_id"],
        comments.c.id == (receipt["comment_id"] or 0),
        comments.c.receipt_id == receipt["duplicate_of"],
    ):
        row = conn.execute(select(*columns).where(condition)).mappings().first()
        if row is not None:
            said = row["text"][:_WORDS]
            return {**row, "text": said, "explanation": _with_present_numbers(conn, row["explanation"])}
    return None


def _with_present_numbers(conn: Connection, explanation: Row) -> Row:
    """A refused ticket may have been merged since."""
    rejected = []
    for item in explanation.get("rejected") or ():
        if isinstance(item, dict):
            number = item.get("ticket_id", item.get("ticket"))
            now = survivor(conn, number) if isinstance(number, int) else None
            rejected.append({**item, "ticket_id": number, "now_on": now if now != number else None})
    return {**explanation, "rejected": rejected}


def _ticket(conn: Connection, ticket_id: int) -> Row | None:
    query = select(tickets.c.id, tickets.c.subject, tickets.c.status).where(tickets.c.id == ticket_id)
    row = conn.execute(query).mappings().first()
    return dict(row) if row else None


def _cause(conn: Connection, receipt_id: UUID) -> str:
    held = conn.scalar(select(suspended.c.cause).where(suspended.c.receipt_id == receipt_id))
    died = conn.scalar(select(dead_letters.c.reason).where(dead_letters.c.receipt_id == receipt_id))
    return held or died or ""
