"""Reading comments and their files, for the API, the console, the chat widget and the export.

Original bytes are never part of a list: they are large, and only a download wants them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import Connection, func, select

from gateway.store.paging import Ask, Order, Page, Row, fetch
from gateway.store.tables import attachments, comments, thread_keys, tickets
from gateway.store.values import one_of

_HEAVY: Final = {"original"}
_CHAIN: Final = 100  # merges followed
_COLUMNS: Final = [column for column in comments.c if column.name not in _HEAVY]
BY_ID: Final = Order("id", comments.c.id, comments.c.id)
NEWEST: Final = Order("id", comments.c.id, comments.c.id, descending=True)
_FILE: Final = [column for column in attachments.c if column.name != "content"]


def page_comments(conn: Connection, ticket_ids: Sequence[int], ask: Ask, order: Order | None = None) -> Page:
    """A page of the comments of these tickets, oldest first by default, each with its `attachments`."""
    query = select(*_COLUMNS).where(comments.c.ticket_id.in_(ticket_ids))
    page = fetch(conn, query, order or BY_ID, ask)
    with_attachments(conn, page.rows)
    return page


def get_comment(conn: Connection, comment_id: int) -> Row | None:
    """One comment with its attachments."""
    row = conn.execute(select(*_COLUMNS).where(comments.c.id == comment_id)).mappings().first()
    return with_attachments(conn, [dict(row)])[0] if row else None


def get_comment_original(conn: Connection, comment_id: int) -> Row | None:
    """What arrived: `original_type` and either `original` (bytes) or `original_blob` (a name in the blob store)."""
    wanted = (comments.c.id, comments.c.original_type, comments.c.original, comments.c.original_blob)
    row = conn.execute(select(*wanted).where(comments.c.id == comment_id)).mappings().first()
    return dict(row) if row else None


def with_attachments(conn: Connection, rows: list[Row]) -> list[Row]:
    """Add `attachments`, without their bytes, to each comment."""
    found = attachments_of(conn, [row["id"] for row in rows])
    for row in rows:
        row["attachments"] = found.get(row["id"], [])
    return rows


def attachments_of(conn: Connection, comment_ids: Sequence[int]) -> dict[int, list[Row]]:
    """Files by comment, without their bytes."""
    found: dict[int, list[Row]] = {}
    if comment_ids:
        query = select(*_FILE).where(attachments.c.comment_id.in_(comment_ids)).order_by(attachments.c.id)
        for row in conn.execute(query).mappings():
            found.setdefault(row["comment_id"], []).append(dict(row))
    return found


def get_attachment(conn: Connection, attachment_id: int) -> Row | None:
    """One file: its facts, and its bytes in `content` or their name in the blob store in `blob`."""
    row = conn.execute(select(attachments).where(attachments.c.id == attachment_id)).mappings().first()
    return dict(row) if row else None


def chat_history(conn: Connection, conversation_key: str, after_id: int = 0, limit: int = 200) -> list[Row]:
    """What was said last in one chat, oldest first: for the widget, so only this chat's own comments, never the rest
    of a ticket that was merged with mail. `conversation_key` is `chat:<inbox>:<session>`."""
    said = select(thread_keys.c.comment_id).where(
        thread_keys.c.key == conversation_key,
        thread_keys.c.role == "conversation",
        thread_keys.c.comment_id.is_not(None),
    )
    query = (
        select(*_COLUMNS)
        .where(comments.c.id > after_id, comments.c.public, comments.c.id.in_(said))
        .order_by(comments.c.id.desc())
        .limit(limit)
    )
    return with_attachments(conn, [dict(row) for row in conn.execute(query).mappings()][::-1])


def export(conn: Connection, after_id: int = 0, limit: int = 1000) -> list[Row]:
    """The next comments after `after_id` as export rows (JSON-ready); `id` is the cursor for the next call."""
    query = select(*_COLUMNS).where(comments.c.id > after_id).order_by(comments.c.id).limit(limit)
    rows = with_attachments(conn, [dict(row) for row in conn.execute(query).mappings()])
    holders = _holders(conn, {row["ticket_id"] for row in rows})
    return [_export_row(row | {"ticket_id": holders[row["ticket_id"]]}) for row in rows]


def _holders(conn: Connection, ticket_ids: Iterable[int]) -> dict[int, int]:
    """Each ticket -> the one that now holds what it held."""
    holder = {ident: ident for ident in ticket_ids}
    for _ in range(_CHAIN):
        query = select(tickets.c.id, tickets.c.merged_into).where(one_of(tickets.c.id, set(holder.values())))
        step = {row.id: row.merged_into for row in conn.execute(query) if row.merged_into is not None}
        if not step:
            break
        holder = {ident: step.get(target, target) for ident, target in holder.items()}
    return holder


def _export_row(row: Row) -> Row:
    return {
        "id": row["id"],
        "receipt_id": str(row["receipt_id"]),
        "ticket_id": row["ticket_id"],
        "channel": row["channel"],
        "inbox": row["inbox"],
        "external_id": row["external_id"],
        "verdict": row["verdict"],
        "matched_by": row["matched_by"],
        "author": {
            "kind": row["author_kind"],
            "value": row["author_value"] or None,
            "display_name": row["author_name"],
            "trust": row["author_trust"],
        },
        "subject": row["subject"],
        "text": row["text"],
        "language": row["language"],
        "attachments": [
            {key: file[key] for key in ("filename", "content_type", "size", "sha256")} for file in row["attachments"]
        ],
        "received_at": iso(row["received_at"]),
    }


def iso(moment: datetime) -> str:
    """`2026-11-21T10:00:00.123456Z`."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def count_comments(conn: Connection, ticket_ids: Sequence[int]) -> int:
    """How many comments these tickets hold."""
    query = select(func.count()).select_from(comments).where(comments.c.ticket_id.in_(ticket_ids))
    return conn.scalar(query) or 0
