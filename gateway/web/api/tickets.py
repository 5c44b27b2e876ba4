"""Tickets, their comments and audits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Final

from aiohttp import web
from sqlalchemy import Connection

from gateway.store import comments, customers, tickets
from gateway.store.paging import Ask, Page, Row, encode_cursor
from gateway.web.api import shapes
from gateway.web.api.answers import answer, bad_request, base_url, not_found
from gateway.web.api.envelopes import envelope, read_ask, read_id, read_ids, read_sort
from gateway.web.reading import read

SORTS: Final = {"id": "id", "created_at": "created_at", "updated_at": "updated_at"}
_HEAVY_HTML: Final = 50_000  # characters; sanitising more than this would hold up the loop
_RECENT: Final = 50
_SETTLING: Final = timedelta(minutes=1)  # longer than any transaction may take (`engine`: 30 s a statement)


async def list_tickets(request: web.Request) -> web.Response:
    """GET tickets: `sort` or `sort_by` by id, created_at, updated_at; `external_id` finds nothing, we keep none."""
    ask, sort = read_ask(request.query), read_sort(request.query, SORTS, "id")
    if request.query.get("external_id"):
        return await answer_tickets(request, Page([], total=0), ask)
    return await answer_tickets(request, await read(request, tickets.page_tickets, ask, sort), ask)


async def list_recent(request: web.Request) -> web.Response:
    """GET tickets/recent: the tickets that changed last."""
    ask = Ask(_RECENT, offset=0)
    page = await read(request, tickets.page_tickets, ask, "-updated_at")
    return await answer_tickets(request, Page(page.rows, total=len(page.rows)), ask)


async def list_requested(request: web.Request) -> web.Response:
    """GET users/{id}/tickets/requested."""
    ask, sort = read_ask(request.query), read_sort(request.query, SORTS, "id")
    ident = read_id(request)
    if ident not in (shapes.NOBODY_ID, shapes.CALLER_ID) and await read(request, customers.get_customer, ident) is None:
        raise not_found()
    return await answer_tickets(request, await read(request, tickets.requested_tickets, ident, ask, sort), ask)


async def list_none(request: web.Request) -> web.Response:
    """GET users/{id}/tickets/assigned and the like: nobody is assigned or copied yet."""
    return await answer_tickets(request, Page([], total=0), read_ask(request.query))


async def answer_tickets(request: web.Request, page: Page, ask: Ask, name: str = "tickets") -> web.Response:
    """A page of tickets in its envelope, with the people in it if `include=users` asks for them."""
    rows = [_ticket(request, row) for row in page.rows]
    more = await _included(request, (row["requester_id"] for row in page.rows))
    return answer(envelope(request, name, rows, page, ask, **more))


async def count_tickets(request: web.Request) -> web.Response:
    """GET tickets/count."""
    count = await read(request, tickets.count_tickets)
    return answer({"count": {"value": count, "refreshed_at": shapes.timestamp(datetime.now(UTC))}})


async def show_many(request: web.Request) -> web.Response:
    """GET tickets/show_many?ids=1,2."""
    rows = await read(request, tickets.get_tickets, read_ids(request.query))
    ask = Ask(max(1, len(rows)), offset=0)
    return await answer_tickets(request, Page(rows, total=len(rows)), ask)


async def show_ticket(request: web.Request) -> web.Response:
    """GET tickets/{id}. A merged ticket answers, closed."""
    row = await _find(request)
    more = await _included(request, [row["requester_id"]])
    return answer({"ticket": _ticket(request, row), **more})


async def list_comments(request: web.Request) -> web.Response:
    """GET tickets/{id}/comments, oldest first; `sort_order=desc` or `sort=-created_at` turns it round."""
    page, ask = await _comments(request)
    said = await _off_loop(page.rows, lambda row: shapes.comment(row, base_url(request)))
    more = await _included(request, (row["author_id"] for row in page.rows))
    return answer(envelope(request, "comments", said, page, ask, **more))


async def count_comments(request: web.Request) -> web.Response:
    """GET tickets/{id}/comments/count."""
    ident = (await _find(request))["id"]
    count = await read(request, _count_of_family, ident)
    return answer({"count": {"value": count, "refreshed_at": shapes.timestamp(datetime.now(UTC))}})


async def list_audits(request: web.Request) -> web.Response:
    """GET tickets/{id}/audits: one for each comment."""
    page, ask = await _comments(request)
    audits = await _off_loop(page.rows, lambda row: shapes.audit(row, base_url(request)))
    return answer(envelope(request, "audits", audits, page, ask))


async def list_tags(request: web.Request) -> web.Response:
    """GET tickets/{id}/tags."""
    return answer({"tags": shapes.ticket(await _find(request), base_url(request))["tags"]})


async def list_collaborators(request: web.Request) -> web.Response:
    """GET tickets/{id}/collaborators."""
    await _find(request)
    ask = read_ask(request.query)
    return answer(envelope(request, "users", [], Page([], total=0), ask))


async def list_incidents(request: web.Request) -> web.Response:
    """GET tickets/{id}/incidents."""
    await _find(request)
    return await list_none(request)


async def list_changed(request: web.Request) -> web.Response:
    """GET incremental/tickets/cursor: everything that changed since `start_time` (Unix seconds), then since `cursor`.

    Not the last minute, as at Zendesk: several workers write at once, and what one of them began earlier and finished
    later lies behind a cursor that was handed out in between. A ticket that was merged comes once more, closed. What is
    taken from an archive keeps its dates: after that, ask from the archive's first day again.
    Source: Zendesk developer docs, Incremental Exports, cursor based. The last cursor is good for asking again later.
    """
    order, cursor = tickets.order("updated_at"), request.query.get("cursor", "")
    size = min(read_ask({"per_page": request.query.get("per_page", "")}).size, 100)
    if not cursor:
        cursor = encode_cursor(order, {"order_value": _start_time(request), "id": 0})
    page = await read(request, tickets.changed_tickets, Ask(size, after=cursor), datetime.now(UTC) - _SETTLING)
    last = page.after or cursor
    return answer(
        {
            "tickets": [_ticket(request, row) for row in page.rows],
            "after_url": f"{base_url(request)}/api/v2/incremental/tickets/cursor.json?cursor={last}",
            "after_cursor": last,
            "before_url": None,
            "before_cursor": None,
            "end_of_stream": not page.has_more,
        }
    )


def _start_time(request: web.Request) -> datetime:
    text = request.query.get("start_time", "")
    if not (text.isascii() and text.isdecimal()) or len(text) > 10:
        raise bad_request("InvalidValue", "start_time is a Unix time in seconds, such as 1767225600")
    return datetime.fromtimestamp(int(text), UTC)


def _count_of_family(conn: Connection, ticket_id: int) -> int:
    return comments.count_comments(conn, tickets.family(conn, ticket_id))


def _page_of_family(conn: Connection, ticket_id: int, ask: Ask, newest_first: bool) -> Page:
    ids = tickets.family(conn, ticket_id)
    return comments.page_comments(conn, ids, ask, comments.NEWEST if newest_first else comments.BY_ID)


async def _comments(request: web.Request) -> tuple[Page, Ask]:
    ident = (await _find(request))["id"]
    ask = read_ask(request.query)
    newest = read_sort(request.query, {"created_at": "id", "id": "id"}, "id") == "-id"
    return await read(request, _page_of_family, ident, ask, newest), ask


async def _off_loop(rows: list[Row], shape: Callable[[Row], Row]) -> list[Row]:
    """Shape the rows, in a thread when there is much HTML to make safe."""
    if sum(len(row["html"]) for row in rows) > _HEAVY_HTML:
        return await asyncio.to_thread(lambda: [shape(row) for row in rows])
    return [shape(row) for row in rows]


async def _find(request: web.Request) -> Row:
    row = await read(request, tickets.get_ticket, read_id(request))
    if row is None:
        raise not_found()
    return row


def _ticket(request: web.Request, row: Row) -> Row:
    shaped = shapes.ticket(row, base_url(request))
    if "comment_count" in _wanted(request):
        shaped["comment_count"] = row["comment_count"]
    return shaped


async def _included(request: web.Request, ids: Iterable[int | None]) -> dict[str, list[Row]]:
    """`include=users` asks for the people beside the list; unasked they would confuse clients."""
    if "users" not in _wanted(request):
        return {}
    wanted = set(ids)
    known = await read(request, customers.get_customers, sorted(one for one in wanted if one))
    people = [shapes.user(row, base_url(request)) for row in known]
    return {"users": [*people, shapes.nobody(base_url(request))] if None in wanted else people}


def _wanted(request: web.Request) -> set[str]:
    return {name.strip() for name in request.query.get("include", "").split(",")}
