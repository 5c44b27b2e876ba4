"""The search language: what finds what, in every script, on both databases."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.store.search import SearchError, parse_query

FINDS = [
    ("parcel", ["mail"]),
    ("PARCEL broken", ["mail"]),
    ('"arrived broken"', ["mail"]),
    ('"broken arrived"', []),
    ('"unclosed', []),
    ("umbrella-yellow", ["mail"]),  # said on a ticket that was merged
    ("возврат", ["form"]),
    ("ВОЗВРАТ счёт", ["form"]),
    ("100%", ["form"]),
    ("пришёл_вообще", ["form"]),
    ("пришёлXвообще", []),
    ("%", ["form"]),
    ("訂單", ["chat"]),
    ("refund -parcel", []),
    ("type:ticket", ["mail", "form", "chat", "call", "tweet"]),
    ("", ["mail", "form", "chat", "call", "tweet"]),
    ("type:user parcel", []),
    ("type:organization", []),
    ("status:open", ["mail"]),
    ("status:open status:solved", ["mail", "tweet"]),
    ("status<solved", ["mail", "form", "chat", "call"]),
    ("status>=solved", ["tweet"]),
    ("-status:new", ["mail", "tweet"]),
    ("channel:email", ["mail"]),
    ("channel:mail", ["mail"]),
    ("via:web", ["form"]),
    ("channel:voice", ["call"]),
    ("channel:x channel:chat", ["chat", "tweet"]),
    ("inbox:contact", ["form"]),
    ("requester:ann@example.org", ["mail"]),
    ("requester:ANN@Example.org", ["mail"]),
    ("requester:ann", ["mail"]),
    ('requester:"Ann de Vries"', ["mail"]),
    ("requester:смирнова", ["form"]),
    ("requester:+31612345678", ["mail"]),
    ("requester:2244994945", ["tweet"]),
    ("requester:1", ["mail"]),
    ("requester:none", ["call"]),
    ("requester:nobody@example.org", []),
    ("requester:ann requester:sam", ["mail", "tweet"]),
    ("-requester:ann@example.org -channel:phone", ["form", "chat", "tweet"]),
    ("subject:broken", ["mail"]),
    ('subject:"Parcel arrived"', ["mail"]),
    ("subject:refund", []),
    ("description:refund", ["mail"]),
    ("language:zh-TW", ["chat"]),
    ("created>2026-11-19", ["mail", "form", "chat", "call", "tweet"]),
    ("created:2026-11-20", ["mail", "form", "chat", "call", "tweet"]),
    ("created>2026-11-20", []),
    ("created<2026-11-20", []),
    ("created<=2026-11-20 channel:email", ["mail"]),
    ("created>=2026-11-20T08:04:00Z", ["call", "tweet"]),
    ("updated>100years", ["mail", "form", "chat", "call", "tweet"]),
    ("assignee:none channel:email", ["mail"]),
    ("assignee:ann", []),
    ("tags:vip", []),
    ("#1", ["mail"]),
    ("ticket_id:1", ["mail"]),
    ("unknown:field", []),
    ("http://shop.example", []),
    ("order_by:created sort:asc status:open", ["mail"]),
    ("' OR 1=1 --", []),
    ("\\", []),
]


async def test_what_finds_what(get: Any, ids: dict[str, Any]) -> None:
    """One store for the whole table: each row of it is a sentence of its own."""
    for query, expected in FINDS:
        _, body, _ = await get(
            "/api/v2/search.json", params={"query": f"{query} type:ticket" if "type:" not in query else query}
        )
        found = {row["id"] for row in body["results"] if row["result_type"] == "ticket"}
        assert found == {ids[f"{name}_ticket"] for name in expected}, query
        _, counted, _ = await get("/api/v2/search/count", params={"query": query, "filter[type]": "ticket"})
        if "type:" not in query:
            assert counted == {"count": len(expected)}, query
            _, body, _ = await get(
                "/api/v2/search/export", params={"query": query, "filter[type]": "ticket", "page[size]": "2"}
            )
            assert len(body["results"]) == min(2, len(expected)), query


async def test_people_are_found_too(get: Any, ids: dict[str, Any]) -> None:
    _, body, _ = await get("/api/v2/search", params={"query": "ann"})
    kinds = {(row["result_type"], row["id"]) for row in body["results"]}
    assert ("user", ids["ann"]) in kinds
    assert body["count"] == len(body["results"])
    for query in ("type:user ann@example.org", "type:user ann vries", "type:user email:ann@example.org"):
        _, body, _ = await get("/api/v2/search", params={"query": query})
        assert [(row["result_type"], row["id"]) for row in body["results"]] == [("user", ids["ann"])], query
    _, body, _ = await get("/api/v2/users/search", params={"query": "СМИРНОВА"})
    assert [row["id"] for row in body["users"]] == [ids["olga"]]


async def test_mixed_results_page_without_gap(get: Any, ids: dict[str, Any]) -> None:
    _, whole, _ = await get("/api/v2/search", params={"query": "a"})
    assert {row["result_type"] for row in whole["results"]} == {"ticket", "user"}
    seen, path = [], "/api/v2/search?query=a&per_page=2"
    while path:
        _, body, _ = await get(path)
        seen += body["results"]
        path = body["next_page"]
    assert seen == whole["results"]


@given(st.text(max_size=300))
def test_any_text_is_a_query_or_a_sentence(text: str) -> None:
    try:
        query = parse_query(text)
    except SearchError as error:
        assert str(error)
    else:
        assert all(term.value for term in query.terms)


@pytest.mark.parametrize("text", ["-" * 2000, '"' * 2000, "a:" * 1000, "x<" * 1000, "_" * 2000])
def test_crafted_queries_are_one_word_or_none(text: str) -> None:
    assert len(parse_query(text).terms) <= 1
