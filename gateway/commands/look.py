"""`frontdesk tickets`, `receipts` and `export`: reading, never writing."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, select

from gateway.commands.desk import finish, opened
from gateway.commands.failures import NOT_SO, OK, USAGE, CommandError
from gateway.commands.output import one_line, print_json, print_line, print_table
from gateway.store import receipts as receipt_store
from gateway.store import tickets as ticket_store
from gateway.store.comments import page_comments
from gateway.store.paging import Ask, Row
from gateway.store.tables import receipts

_PAGE: Final = 500
_TICKET_KEYS: Final = ("id", "channel", "inbox", "status", "subject", "requester", "comment_count", "updated_at")
_COMMENT_KEYS: Final = (
    "id", "receipt_id", "channel", "inbox", "external_id", "verdict", "matched_by", "author_name", "author_kind",
    "author_value", "author_trust", "subject", "text", "language", "explanation", "automated", "problems",
    "received_at",
)  # fmt: skip


def show_tickets(ticket_id: int | None, *, channel: str | None, waiting: bool, limit: int, as_json: bool) -> int:
    """List tickets, or show one."""
    if ticket_id is not None:
        return finish(_show_ticket(ticket_id, as_json=as_json))
    return finish(_list_tickets(channel or "", waiting=waiting, limit=_positive(limit), as_json=as_json))


async def _list_tickets(channel: str, *, waiting: bool, limit: int, as_json: bool) -> int:
    async with opened(store_only=True) as runtime:
        page = await runtime.store.read(ticket_store.newest_first, Ask(limit), channel, waiting)
    if as_json:
        for row in page.rows:
            print_json({key: row.get(key) for key in (*_TICKET_KEYS, "created_at", "customer_waits_since")})
        return OK
    rows = [[row.get(key) for key in _TICKET_KEYS] for row in page.rows]
    print_table(
        ("id", "channel", "inbox", "status", "subject", "from", "comments", "updated"), rows, empty="no tickets"
    )
    return OK


async def _show_ticket(ticket_id: int, *, as_json: bool) -> int:
    async with opened(store_only=True) as runtime:
        ticket = await runtime.store.read(ticket_store.get_ticket, ticket_id)
        if ticket is None:
            raise CommandError(f"there is no ticket {ticket_id}", NOT_SO)
        comments = await _comments(runtime.store, ticket_id)
    if as_json:
        head = {key: value for key, value in ticket.items() if key != "first"}
        print_json({**head, "comments": [{key: row.get(key) for key in _COMMENT_KEYS} for row in comments]})
        return OK
    print_line(f"ticket {ticket['id']}  {ticket['status']}  {ticket['channel']}/{ticket['inbox']}  {ticket['subject']}")
    if ticket["merged_into"]:
        print_line(f"merged into ticket {ticket['merged_into']}")
    for row in comments:
        _print_comment(row)
    return OK


async def _comments(store: Any, ticket_id: int) -> list[Row]:
    rows: list[Row] = []
    after = ""
    while True:
        page = await store.read(page_comments, [ticket_id], Ask(_PAGE, after=after))
        rows += page.rows
        if not page.has_more:
            return rows
        after = page.after


def _print_comment(row: Row) -> None:
    who = row["author_name"] or row["author_value"] or "nobody in particular"
    why = f"matched by {row['matched_by']}" if row["matched_by"] != "none" else "opened the ticket"
    print_line("")
    print_line(f"{one_line(row['received_at'])}  {one_line(who)}  ({row['author_trust']}; {why}; {row['verdict']})")
    print_line("\n".join(f"    {line}" for line in row["text"].splitlines()))
    for file in row["attachments"]:
        print_line(f"    [{one_line(file['filename']) or 'unnamed'}, {file['content_type']}, {file['size']} bytes]")


def show_receipts(
    receipt_id: str | None, *, outcome: str | None, channel: str | None, limit: int, as_json: bool
) -> int:
    """List receipts, or show one."""
    if receipt_id is not None:
        return finish(_show_receipt(receipt_id, as_json=as_json))
    return finish(_list_receipts(outcome, channel, _positive(limit), as_json=as_json))


async def _show_receipt(receipt_id: str, *, as_json: bool) -> int:
    try:
        wanted = UUID(receipt_id)
    except ValueError:
        raise CommandError(f"{receipt_id!r} is not a receipt id; it looks like a UUID", USAGE) from None
    async with opened(store_only=True) as runtime:
        row = await runtime.store.read(receipt_store.get_receipt, wanted)
    if row is None:
        raise CommandError(f"nothing is recorded under receipt {wanted} yet; it may still be in the queue", NOT_SO)
    if as_json:
        print_json(row)
        return OK
    for key, value in row.items():
        if value not in (None, ""):
            print_line(f"{key.replace('_', ' ')}: {one_line(value)}")
    return OK


async def _list_receipts(outcome: str | None, channel: str | None, limit: int, *, as_json: bool) -> int:
    async with opened(store_only=True) as runtime:
        rows = await runtime.store.read(newest_receipts, outcome, channel, limit)
    if as_json:
        for row in rows:
            print_json(row)
        return OK
    keys = ("receipt_id", "channel", "inbox", "outcome", "ticket_id", "reason", "received_at")
    print_table(keys, [[row[key] for key in keys] for row in rows], empty="no receipts")
    return OK


def newest_receipts(conn: Connection, outcome: str | None, channel: str | None, limit: int) -> list[Row]:
    """The newest receipts first: receipt ids are UUIDs of version 7, so their order is the order of arrival."""
    query = select(receipts).order_by(receipts.c.receipt_id.desc()).limit(limit)
    if outcome:
        query = query.where(receipts.c.outcome == outcome)
    if channel:
        query = query.where(receipts.c.channel == channel)
    return [dict(row) for row in conn.execute(query).mappings()]


def export_comments() -> int:
    """Print every comment as a JSON line."""
    return finish(_export())


async def _export() -> int:
    after = 0
    async with opened(store_only=True) as runtime:
        while rows := await runtime.store.read(ticket_store.export, after, _PAGE):
            after = rows[-1]["id"]
            for row in rows:
                print_json({key: value for key, value in row.items() if key != "id"})
    return OK


def _positive(limit: int) -> int:
    if limit < 1:
        raise CommandError("--limit has to be 1 or more", USAGE)
    return min(limit, 100_000)
