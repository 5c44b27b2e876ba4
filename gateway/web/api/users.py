"""Users: customers, with two that stand for nobody in particular and for the holder of an API token."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from aiohttp import web

from gateway.store import claims, customers
from gateway.store.paging import Ask, Page, Row
from gateway.web.api import event_shapes, shapes
from gateway.web.api.answers import answer, base_url, caller_of, not_found
from gateway.web.api.envelopes import envelope, read_ask, read_id, read_ids
from gateway.web.reading import read
from normalizer.message import clean_text

_MOST_WORDS: Final = 10


async def list_users(request: web.Request) -> web.Response:
    """GET users; `role` other than end-user finds nobody."""
    ask = read_ask(request.query)
    role = request.query.get("role", "")
    if role not in ("", "None", "end-user"):
        return _answer(request, Page([], total=0), ask)
    return _answer(request, await read(request, customers.page_customers, ask), ask)


async def show_me(request: web.Request) -> web.Response:
    """GET users/me: who the token stands for."""
    return answer({"user": shapes.api_caller(caller_of(request).email, base_url(request))})


async def show_user(request: web.Request) -> web.Response:
    """GET users/{id}."""
    ident = read_id(request)
    special = _special(request, ident)
    return answer({"user": special or shapes.user(await find_user(request, ident), base_url(request))})


async def show_many(request: web.Request) -> web.Response:
    """GET users/show_many?ids=1,2."""
    rows = await read(request, customers.get_customers, read_ids(request.query))
    return _answer(request, Page(rows, total=len(rows)), Ask(max(1, len(rows)), offset=0))


async def search_users(request: web.Request) -> web.Response:
    """GET users/search?query= (and users/autocomplete?name=): every word in the name or in an address."""
    ask = read_ask(request.query)
    text = request.query.get("query", "") or request.query.get("name", "")
    words = clean_text(text).replace('"', " ").split()[:_MOST_WORDS]
    if not words:
        return _answer(request, Page([], total=0), ask)
    return _answer(request, await read(request, customers.search_customers, words, ask), ask)


async def count_users(request: web.Request) -> web.Response:
    """GET users/count."""
    count = await read(request, customers.count_customers)
    return answer({"count": {"value": count, "refreshed_at": shapes.timestamp(datetime.now(UTC))}})


async def list_identities(request: web.Request) -> web.Response:
    """GET users/{id}/identities: every address that is known to be theirs."""
    ident, ask = read_id(request), read_ask(request.query)
    known = [] if _special(request, ident) else (await find_user(request, ident))["identities"]
    kinds: set[str] = set()
    rows = []
    for row in known:
        rows.append(shapes.identity(row, base_url(request), primary=row["kind"] not in kinds))
        kinds.add(row["kind"])
    return answer(envelope(request, "identities", rows, Page([], total=len(rows)), ask))


async def list_suggestions(request: web.Request) -> web.Response:
    """GET users/{id}/suggestions: who may be the same person, and why. Ours."""
    ident, ask = read_id(request), read_ask(request.query)
    known: list[Row] = []
    if not _special(request, ident):
        await find_user(request, ident)
        known = await read(request, claims.suggestions, ident)
    rows = [event_shapes.suggestion({**row, "customer_id": ident}, base_url(request)) for row in known]
    return answer(envelope(request, "suggestions", rows, Page([], total=len(rows)), ask))


def _special(request: web.Request, ident: int) -> Row | None:
    if ident == shapes.NOBODY_ID:
        return shapes.nobody(base_url(request))
    if ident == shapes.CALLER_ID:
        return shapes.api_caller(caller_of(request).email, base_url(request))
    return None


async def find_user(request: web.Request, ident: int) -> Row:
    row = await read(request, customers.get_customer, ident)
    if row is None:
        raise not_found()
    return row


def _answer(request: web.Request, page: Page, ask: Ask) -> web.Response:
    rows = [shapes.user(row, base_url(request)) for row in page.rows]
    return answer(envelope(request, "users", rows, page, ask))
