"""Pages: together they are everything, once, in order; whichever way they are asked for."""

from __future__ import annotations

import base64
import contextlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, update

from gateway.store import tables as t
from gateway.store import tickets
from gateway.store.paging import Ask, BadCursorError, decode_cursor, encode_cursor
from tests.api import seed
from tests.api.conftest import BASE

COUNT = 43


@pytest.fixture
async def many(store: Any) -> None:
    await store.write(seed.many_tickets, COUNT)


async def walk(get: Any, path: str, name: str, link: Any) -> list[list[int]]:
    pages = []
    while path:
        status, body, _ = await get(path)
        assert status == 200, body
        pages.append([row["id"] for row in body[name]])
        path = link(body)
        assert path is None or path.startswith(f"{BASE}/api/v2/")
        assert len(pages) < 100
    return pages


@pytest.mark.usefixtures("many")
@pytest.mark.parametrize("size", [1, 7, 20, COUNT, 100])
@pytest.mark.parametrize("sort", ["id", "-id", "updated_at", "-updated_at", "created_at"])
async def test_cursor_pages_are_everything_once_in_order(get: Any, size: int, sort: str) -> None:
    if size == 1 and sort not in ("id", "-updated_at"):
        return
    first = f"/api/v2/tickets.json?page%5Bsize%5D={size}&sort={sort}&junk=1"
    pages = await walk(get, first, "tickets", lambda body: body["links"]["next"] if body["meta"]["has_more"] else None)
    ids = [one for page in pages for one in page]
    assert len(ids) == len(set(ids)) == COUNT
    assert [len(page) for page in pages[:-1]] == [size] * (len(pages) - 1)
    whole = (await get(f"/api/v2/tickets?sort={sort}"))[1]["tickets"]
    assert ids == [row["id"] for row in whole]
    column = sort.removeprefix("-")
    values = [(row[column], row["id"]) for row in whole]
    assert values == sorted(values, reverse=sort.startswith("-"))


@pytest.mark.usefixtures("many")
async def test_the_way_back(get: Any) -> None:
    first = "/api/v2/tickets?page[size]=10&sort=-updated_at"
    forward = await walk(get, first, "tickets", lambda body: body["links"]["next"])
    _, last, _ = await get(first)
    while last["links"]["next"]:
        _, last, _ = await get(last["links"]["next"])
    back = await walk(get, last["links"]["prev"], "tickets", lambda body: body["links"]["prev"])
    assert back == forward[-2::-1]


@pytest.mark.usefixtures("many")
@pytest.mark.parametrize(
    "path", ["tickets?sort_by=created_at&sort_order=desc", "search?query=words&sort_by=created_at", "users"]
)
async def test_offset_pages_are_everything_once(get: Any, path: str) -> None:
    name = {"t": "tickets", "s": "results", "u": "users"}[path[0]]
    joined = "&" if "?" in path else "?"
    pages = await walk(get, f"/api/v2/{path}{joined}per_page=9", name, lambda body: body["next_page"])
    ids = [one for page in pages for one in page]
    assert len(ids) == len(set(ids)) == (1 if name == "users" else COUNT)


@pytest.mark.usefixtures("many")
async def test_new_tickets_do_not_shift_cursor_pages(get: Any, store: Any) -> None:
    _, body, _ = await get("/api/v2/tickets?page[size]=20&sort=-id")
    seen = [row["id"] for row in body["tickets"]]
    await store.write(lambda conn: seed.Desk(conn).ticket("form", "contact", "late", None))
    _, body, _ = await get(body["links"]["next"])
    seen += [row["id"] for row in body["tickets"]]
    assert seen == list(range(COUNT, COUNT - 40, -1))


@pytest.mark.usefixtures("many")
async def test_links_keep_what_was_asked_for(get: Any) -> None:
    _, body, _ = await get("/api/v2/search.json?query=words%20%26more%3D1%20-zz&per_page=5&page=1&sort_by=created_at")
    assert body["count"] == 0
    _, body, _ = await get("/api/v2/search.json?query=%22words%22%20type%3Aticket&per_page=5&sort_by=created_at")
    asked = dict(parse_qsl(urlsplit(body["next_page"]).query))
    assert asked == {"query": '"words" type:ticket', "sort_by": "created_at", "page": "2", "per_page": "5"}


@pytest.mark.usefixtures("many")
async def test_incremental_export_ends_and_goes_on_later(get: Any, store: Any) -> None:
    start = int(seed.START.timestamp())
    pages = await walk(
        get,
        f"/api/v2/incremental/tickets/cursor.json?start_time={start}&per_page=10",
        "tickets",
        lambda body: None if body["end_of_stream"] else body["after_url"] + "&per_page=10",
    )
    ids = [one for page in pages for one in page]
    assert len(ids) == len(set(ids)) == COUNT
    _, body, _ = await get(f"/api/v2/incremental/tickets/cursor?start_time={start + 86400}")
    assert (body["tickets"], body["end_of_stream"]) == ([], True)
    assert body["after_cursor"]


async def test_incremental_export_misses_nothing_that_was_begun_earlier_and_finished_later(
    get: Any, store: Any
) -> None:
    """Two workers: the one that began first commits last, behind the cursor that was handed out meanwhile."""
    now = datetime.now(UTC)

    def add(conn: Connection, begun: datetime) -> int:
        return seed.Desk(conn, begun).ticket("form", "contact", "late", None)

    old = await store.write(add, now - timedelta(hours=1))
    second = await store.write(add, now)
    path = f"/api/v2/incremental/tickets/cursor?start_time={int(now.timestamp()) - 7200}"
    _, body, _ = await get(path)
    assert [row["id"] for row in body["tickets"]] == [old]
    first = await store.write(add, now - timedelta(seconds=5))
    # A minute and a bit later:
    for ident, at in ((second, now - timedelta(seconds=65)), (first, now - timedelta(seconds=70))):
        changed = update(t.tickets).where(t.tickets.c.id == ident).values(updated_at=at)
        await store.write(Connection.execute, changed)
    _, body, _ = await get(f"/api/v2/incremental/tickets/cursor?cursor={body['after_cursor']}")
    assert ([row["id"] for row in body["tickets"]], body["end_of_stream"]) == ([first, second], True)


ORDER = tickets.order("-updated_at")


@given(st.text(max_size=200))
def test_no_text_breaks_the_cursor(text: str) -> None:
    with contextlib.suppress(BadCursorError):
        decode_cursor(ORDER, text)


@given(st.datetimes(timezones=st.just(UTC)), st.integers(0, 2**63 - 1))
def test_cursor_carries_its_row(moment: datetime, ident: int) -> None:
    cursor = encode_cursor(ORDER, {"order_value": moment, "id": ident})
    assert decode_cursor(ORDER, cursor) == (moment, ident)
    with pytest.raises(BadCursorError):
        decode_cursor(tickets.order("id"), cursor)


def pack(*parts: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode()


@pytest.mark.usefixtures("ids")
@pytest.mark.parametrize(
    ("path", "cursor"),
    [
        ("tickets", pack("id", "2026-01-01T00:00:00+00:00", 1)),
        ("tickets?sort=updated_at", pack("updated_at", 5, 1)),
        ("tickets?sort=updated_at", pack("updated_at", "2026-01-01T00:00:00", 1)),
        ("tickets?sort=updated_at", pack("updated_at", "0001-01-01T00:00:00+23:59", 1)),
        ("tickets?sort=-updated_at", pack("-updated_at", "9999-12-31T23:59:59-23:59", 1)),
    ],
)
async def test_a_crafted_cursor_is_refused(get: Any, path: str, cursor: str) -> None:
    joined = "&" if "?" in path else "?"
    status, body, _ = await get(f"/api/v2/{path}{joined}page[after]={cursor}")
    assert (status, body["error"]) == (400, "InvalidPaginationParameter")


async def test_export_and_history(store: Any, ids: dict[str, Any]) -> None:
    rows, after = [], 0
    while page := await store.read(tickets.export, after, 2):
        rows += page
        after = page[-1]["id"]
    assert [row["id"] for row in rows] == sorted(row["id"] for row in rows)
    assert len(rows) == 8
    row = next(row for row in rows if row["id"] == ids["mail_comment"])
    assert row["author"] == {
        "kind": "email",
        "value": "ann@example.org",
        "display_name": "Ann de Vries",
        "trust": "verified",
    }
    assert row["received_at"] == "2026-11-20T08:01:00.123456Z"
    assert row["external_id"] == "a1@example.org"
    assert [set(file) for file in row["attachments"]] == [{"filename", "content_type", "size", "sha256"}] * 2
    merged = next(row for row in rows if row["id"] == ids["merged_comment"])
    assert merged["ticket_id"] == ids["mail_ticket"]

    said = await store.read(tickets.chat_history, "chat:website:s1")
    assert [row["text"] for row in said] == ["你好，請問訂單什麼時候到？", "訂單號碼 20031"]
    assert [row["id"] for row in await store.read(tickets.chat_history, "chat:website:s1", said[0]["id"])] == [
        said[1]["id"]
    ]
    assert [row["id"] for row in await store.read(tickets.chat_history, "chat:website:s1", 0, 1)] == [said[1]["id"]]
    assert await store.read(tickets.chat_history, "chat:website:other") == []
    assert await store.read(tickets.chat_history, "") == []


async def test_console_lists(store: Any, ids: dict[str, Any]) -> None:
    waiting = (await store.read(tickets.newest_first, Ask(10), "", True)).rows
    assert ids["tweet_ticket"] not in [row["id"] for row in waiting]
    assert [row["customer_waits_since"] for row in waiting] == sorted(row["customer_waits_since"] for row in waiting)
    mails = (await store.read(tickets.newest_first, Ask(10), "email")).rows
    assert [row["id"] for row in mails] == [ids["mail_ticket"]]
    assert await store.read(tickets.channel_counts) == {"email": 1, "form": 1, "chat": 1, "phone": 1, "twitter": 1}
