"""Search over tickets and people. Every result says in `result_type` what it is."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from aiohttp import web
from sqlalchemy import Connection

from gateway.store import customers
from gateway.store import search as searching
from gateway.store.paging import Ask, Page, Row
from gateway.store.search import Query, parse_query, sort_name
from gateway.web.api import shapes
from gateway.web.api.answers import answer, bad_request, base_url
from gateway.web.api.envelopes import envelope, read_ask
from gateway.web.reading import read

_KINDS: Final = {"ticket", "user"}


async def search(request: web.Request) -> web.Response:
    """GET search?query=: tickets, then people, by offset."""
    query, ask = _read_query(request), _read_offset(request)
    page = await read(request, _find, query, ask, _read_sort(request), datetime.now(UTC))
    return answer(envelope(request, "results", _results(request, page.rows), page, ask, facets=None))


async def count(request: web.Request) -> web.Response:
    """GET search/count?query=."""
    query = _read_query(request)
    page = await read(request, _find, query, Ask(1, offset=0), "", datetime.now(UTC))
    return answer({"count": page.total or 0})


async def export(request: web.Request) -> web.Response:
    """GET search/export?query=&filter[type]=ticket: any number of results of one kind, by cursor."""
    query, ask = _read_query(request), read_ask(request.query)
    kind = request.query.get("filter[type]", "") or next(iter(query.kinds), "ticket")
    if kind not in _KINDS:
        raise bad_request("InvalidValue", "filter[type] is ticket or user")
    ask = Ask(ask.size, after=ask.after, before=ask.before)
    if kind == "user":
        page = await read(request, customers.search_customers, query.words, ask)
    else:
        page = await read(request, searching.search_tickets, query, ask, "id", datetime.now(UTC))
    return answer(envelope(request, "results", _results(request, _marked(page.rows, kind)), page, ask, facets=None))


def _read_query(request: web.Request) -> Query:
    kind = request.query.get("filter[type]", "")
    if "query" not in request.query and not kind:
        raise bad_request("InvalidSearch", "search needs a query, such as ?query=type:ticket status:open refund")
    return parse_query(f"{request.query.get('query', '')} {f'type:{kind}' if kind.isalpha() else ''}")


def _read_offset(request: web.Request) -> Ask:
    return read_ask({name: value for name, value in request.query.items() if name in ("page", "per_page")})


def _read_sort(request: web.Request) -> str:
    return sort_name(request.query.get("sort_by", ""), request.query.get("sort_order", ""))


def _find(conn: Connection, query: Query, ask: Ask, sort: str, now: datetime) -> Page:
    """Tickets first; people fill what is left of the page."""
    found = searching.search_tickets(conn, query, ask, sort, now)
    rows, total = _marked(found.rows, "ticket"), found.total or 0
    offset = ask.offset or 0
    if _wants_people(query):
        people = customers.search_customers(conn, query.words, Ask(ask.size, offset=max(0, offset - total)))
        rows += _marked(people.rows, "user")[: ask.size - len(rows)]
        total += people.total or 0
    return Page(rows, offset + ask.size < total, offset > 0, total=total)


def _wants_people(query: Query) -> bool:
    """People have no status and no channel: a query about those means tickets, unless it says `type:user`."""
    if not query.wants("user"):
        return False
    return "user" in query.kinds or (bool(query.words) and len(query.words) == len(query.terms))


def _marked(rows: list[Row], kind: str) -> list[Row]:
    return [{**row, "result_type": kind} for row in rows]


def _results(request: web.Request, rows: list[Row]) -> list[Row]:
    shape = {"ticket": shapes.ticket, "user": shapes.user}
    return [{**shape[row["result_type"]](row, base_url(request)), "result_type": row["result_type"]} for row in rows]
