"""Lists as Zendesk wraps them: by cursor (`page[size]`, `page[after]`, `page[before]`) or offset (`page`, `per_page`).

Source: Zendesk developer docs, Pagination. Links are absolute and keep what else was asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode

from aiohttp import web

from gateway.store.paging import MAX_ID, Ask, Page, Row
from gateway.web.api.answers import ApiError, bad_request, base_url

MAX_PAGE: Final = 100  # rows
MAX_OFFSET: Final = 1_000_000  # rows; deeper lists are read by cursor
MAX_IDS: Final = 100
_CURSOR_PARAMS: Final = ("page[size]", "page[after]", "page[before]")
_PAGE_PARAMS: Final = (*_CURSOR_PARAMS, "page", "per_page")


def read_ask(query: Mapping[str, str]) -> Ask:
    """Which page a request asks for. Raises `ApiError` 400."""
    if any(name in query for name in _CURSOR_PARAMS):
        size = _read_count(query, "page[size]", MAX_PAGE)
        after, before = query.get("page[after]", ""), query.get("page[before]", "")
        if after and before:
            raise _bad_page("give page[after] or page[before], not both")
        return Ask(min(size, MAX_PAGE), after=after, before=before)
    size = min(_read_count(query, "per_page", MAX_PAGE), MAX_PAGE)
    number = _read_count(query, "page", 1)
    if size * number > MAX_OFFSET:
        raise _bad_page(f"pages by number end at row {MAX_OFFSET}; use cursors: page[size]={MAX_PAGE}")
    return Ask(size, offset=size * (number - 1))


def read_sort(query: Mapping[str, str], allowed: Mapping[str, str], default: str) -> str:
    """`sort=-updated_at`, or `sort_by` and `sort_order`; what the list does not know is ignored."""
    name = query.get("sort", "")
    down = name.startswith("-")
    if not name:
        name, down = query.get("sort_by", ""), query.get("sort_order", "asc").lower() == "desc"
        if not name and query.get("sort_order"):
            name = next(iter(allowed))
    column = allowed.get(name.removeprefix("-"))
    if column is None:
        return default
    return f"-{column}" if down else column


def read_id(request: web.Request, name: str = "id") -> int:
    """The number in the path. Raises `ApiError` 400 for what is no number and 404 for one that cannot exist."""
    text = request.match_info[name]
    if not (text.isascii() and text.removeprefix("-").isdecimal()):
        message = "You passed an invalid value for the id attribute. Invalid parameter: id must be an integer"
        raise ApiError(400, {"error": {"title": "Invalid attribute", "message": message}})
    return max(-MAX_ID, min(int(text[:20]), MAX_ID))


def read_ids(query: Mapping[str, str]) -> list[int]:
    """`ids=1,2,3`; anything that is no number is passed over. Raises `ApiError` 400 past a hundred."""
    parts = [part.strip() for part in query.get("ids", "").split(",")]
    ids = [int(part) for part in parts if part.isascii() and part.isdecimal() and len(part) < 20]
    if len(ids) > MAX_IDS:
        raise bad_request("TooManyIds", f"ids takes at most {MAX_IDS} ids; these are {len(ids)}")
    return ids


def envelope(request: web.Request, name: str, rows: list[Row], page: Page, ask: Ask, **more: Any) -> Row:
    """The list under its name with cursors and links, or with count and neighbouring pages."""
    if ask.offset is None:
        return {name: rows, **more, **_cursors(request, page, ask)}
    number = ask.offset // ask.size + 1
    return {
        name: rows,
        **more,
        "next_page": _link(request, {"page": number + 1, "per_page": ask.size}) if page.has_more else None,
        "previous_page": _link(request, {"page": number - 1, "per_page": ask.size}) if number > 1 else None,
        "count": page.total or 0,
    }


def _cursors(request: web.Request, page: Page, ask: Ask) -> Row:
    backwards = bool(ask.before)
    ahead = page.has_other if backwards else page.has_more
    behind = page.has_more if backwards else page.has_other
    return {
        "meta": {"has_more": page.has_more, "after_cursor": page.after, "before_cursor": page.before},
        "links": {
            "next": _cursor_link(request, ask, "page[after]", page.after) if ahead else None,
            "prev": _cursor_link(request, ask, "page[before]", page.before) if behind else None,
        },
    }


def _cursor_link(request: web.Request, ask: Ask, name: str, cursor: str | None) -> str | None:
    return _link(request, {name: cursor, "page[size]": ask.size}) if cursor else None


def _link(request: web.Request, page: Mapping[str, Any]) -> str:
    kept = [(name, value) for name, value in request.query.items() if name not in _PAGE_PARAMS]
    query = urlencode([*kept, *page.items()], errors="replace")
    return f"{base_url(request)}{request.rel_url.raw_path}?{query}"


def _read_count(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name, "").strip()
    if not text or text == "None":
        return default
    if not (text.isascii() and text.isdecimal()) or len(text) > 9 or int(text) < 1:
        raise _bad_page(f"{name} is a whole number from 1; not {text[:40]!r}")
    return int(text)


def _bad_page(sentence: str) -> ApiError:
    return bad_request("InvalidPaginationParameter", sentence)
