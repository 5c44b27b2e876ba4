"""The writing side of the API: corrections, users, and every way of asking for nonsense."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, func, select

from gateway.store import tables as t
from gateway.web.api import _ROUTES, _WRITES
from tests.corrections.conftest import image

BASIC = {
    "Authorization": "Basic YW5uQGRlc2suZXhhbXBsZS90b2tlbjp0ZXN0LXRva2VuLTE="
}  # ann@desk.example/token:test-token-1


@pytest.fixture
def send(get: Callable[..., Any]) -> Callable[..., Any]:
    """`await send("POST", "tickets/1/merge", {...})`: status and body."""

    async def call(method: str, path: str, body: Any = None, **options: Any) -> tuple[int, Any]:
        sent = {"json": body} if body is not None else {}
        status, answer, _ = await get(f"/api/v2/{path}", method=method, **sent, **options)
        return status, answer

    return call


def settled(conn: Connection) -> dict[str, set[Any]]:
    """Without participants, of whom the made-up desk knows none; `tests/corrections` compares those."""
    return {name: rows for name, rows in image(conn).items() if name != "participants"}


async def test_split_and_undo(send: Any, store: Any, ids: dict[str, Any]) -> None:
    before = await store.read(settled)
    ticket = ids["mail_ticket"]
    status, body = await send(
        "POST", f"tickets/{ticket}/split.json", {"comment_id": ids["mail_comment"] + 1}, headers=BASIC
    )
    assert status == 201, body
    new = body["ticket"]["id"]
    assert (body["event"]["kind"], body["event"]["actor"]) == ("split", "ann@desk.example")
    _, comments = await send("GET", f"tickets/{new}/comments")
    assert [one["id"] for one in comments["comments"]] == [ids["mail_comment"] + 1]
    _, events = await send("GET", f"tickets/{ticket}/events")
    standing = [(one["kind"], one["correction"]["undone"] if one["correction"] else None) for one in events["events"]]
    assert standing[0] == ("created", None)
    assert standing[-1] == ("split", False)
    undo = body["event"]["correction"]["undo_url"].partition("/api/v2/")[2]
    status, undone = await send("POST", undo)
    assert (status, undone["event"]["kind"], undone["event"]["actor"]) == (200, "undone", "an API token")
    assert await store.read(settled) == before
    status, body = await send("POST", undo)
    assert (status, body["error"]) == (409, "Conflict")
    assert "was undone by an API token" in body["description"]
    _, merged = await send("GET", f"tickets/{new}")
    assert (merged["ticket"]["status"], merged["ticket"]["merged_into_id"]) == ("closed", ticket)


async def test_merge_is_a_job_that_is_done(send: Any, ids: dict[str, Any]) -> None:
    target, source = ids["mail_ticket"], ids["form_ticket"]
    body = {"ids": [source, ids["chat_ticket"]], "target_comment": "the same parcel", "source_comment": "see the mail"}
    status, answer = await send("POST", f"tickets/{target}/merge.json", body)
    assert status == 200, answer
    job = answer["job_status"]
    assert (job["status"], job["total"], job["progress"]) == ("completed", 2, 2)
    assert [(one["id"], one["success"]) for one in job["results"]] == [(source, True), (ids["chat_ticket"], True)]
    assert await send("GET", job["url"].partition("/api/v2/")[2]) == (200, answer)
    _, ticket = await send("GET", f"tickets/{source}")
    assert (ticket["ticket"]["status"], ticket["ticket"]["merged_into_id"]) == ("closed", target)
    assert ticket["ticket"]["tags"] == ["closed_by_merge"]
    status, undone = await send("POST", f"events/{job['id']}/undo")
    assert status == 200
    assert undone["ticket"]["id"] == target
    _, ticket = await send("GET", f"tickets/{source}")
    assert (ticket["ticket"]["status"], ticket["ticket"]["merged_into_id"]) == ("new", None)


async def test_move_and_relate(send: Any, ids: dict[str, Any]) -> None:
    source, target = ids["chat_ticket"], ids["form_ticket"]
    _, body = await send("GET", f"tickets/{source}/comments")
    comment = body["comments"][0]["id"]
    status, body = await send("POST", f"tickets/{source}/move", {"comment_id": str(comment), "ticket_id": target})
    assert (status, body["ticket"]["id"]) == (200, target)
    assert body["event"]["detail"]["comment_ids"] == [comment]
    status, body = await send("POST", f"tickets/{source}/relate", {"ticket_id": target, "reason": "the same order"})
    assert (status, body["event"]["kind"]) == (200, "related")
    status, body = await send("POST", f"tickets/{target}/relate", {"ticket_id": source})
    assert (status, body["error"], list(body["details"])) == (422, "RecordInvalid", ["ticket_id"])


HUGE = 2**70
NONSENSE: list[tuple[str, str, Any, int, str]] = [
    ("POST", "tickets/99/split", {"comment_id": 1}, 404, "RecordNotFound"),
    ("POST", f"tickets/{HUGE}/split", {"comment_id": 1}, 404, "RecordNotFound"),
    ("POST", "tickets/-1/split", {"comment_id": 1}, 404, "RecordNotFound"),
    ("POST", "tickets/1/split", {"comment_id": 999}, 404, "RecordNotFound"),
    ("POST", "tickets/1/split", {}, 422, "RecordInvalid"),
    ("POST", "tickets/1/split", {"comment_id": "x"}, 422, "RecordInvalid"),
    ("POST", "tickets/1/split", {"comment_id": True}, 422, "RecordInvalid"),
    ("POST", "tickets/1/split", {"comment_id": HUGE}, 422, "RecordInvalid"),
    ("POST", "tickets/1/split", {"comment_id": 1.5}, 422, "RecordInvalid"),
    ("POST", "tickets/1/split", {"comment_id": [1]}, 422, "RecordInvalid"),
    ("POST", "tickets/1/split", {"comment_id": 1, "and_following": "yes"}, 422, "RecordInvalid"),
    ("POST", "tickets/{tweet_ticket}/split", {"comment_id": 7}, 422, "RecordInvalid"),
    ("POST", "tickets/1/split", [1], 400, "InvalidBody"),
    ("POST", "tickets/1/split", "1", 400, "InvalidBody"),
    ("POST", "tickets/1/split", None, 400, "InvalidBody"),
    ("POST", "tickets/1/move", {"comment_id": 1, "ticket_id": 1}, 422, "RecordInvalid"),
    ("POST", "tickets/1/move", {"comment_id": 1, "ticket_id": 98}, 404, "RecordNotFound"),
    ("POST", "tickets/{merged_ticket}/move", {"comment_id": 1, "ticket_id": 1}, 422, "RecordInvalid"),
    ("POST", "tickets/1/merge", {"ids": []}, 422, "RecordInvalid"),
    ("POST", "tickets/1/merge", {"ids": "2"}, 422, "RecordInvalid"),
    ("POST", "tickets/1/merge", {"ids": [1]}, 422, "RecordInvalid"),
    ("POST", "tickets/1/merge", {"ids": list(range(2, 200))}, 422, "RecordInvalid"),
    ("POST", "tickets/1/merge", {"ids": [98]}, 404, "RecordNotFound"),
    ("POST", "tickets/1/merge", {"ids": [2], "target_comment": {"body": "x"}}, 422, "RecordInvalid"),
    ("POST", "tickets/1/merge", {"ids": [2], "target_comment": "x" * 10_001}, 422, "RecordInvalid"),
    ("POST", "tickets/1/relate", {"ticket_id": 1}, 422, "RecordInvalid"),
    ("POST", "tickets/1/relate", {"ticket_id": 3, "reason": 5}, 422, "RecordInvalid"),
    ("POST", "events/1/undo", None, 422, "RecordInvalid"),
    ("POST", "events/12345/undo", None, 404, "RecordNotFound"),
    ("POST", f"events/{HUGE}/undo", None, 404, "RecordNotFound"),
    ("GET", "job_statuses/1", None, 404, "RecordNotFound"),
    ("GET", "tickets/99/events", None, 404, "RecordNotFound"),
    ("PUT", "users/99", {"user": {"name": "x"}}, 404, "RecordNotFound"),
    ("PUT", "users/-1", {"user": {"name": "x"}}, 404, "RecordNotFound"),
    ("PUT", "users/1", {"name": "x"}, 400, "InvalidBody"),
    ("PUT", "users/1", {"user": {"name": 5}}, 422, "RecordInvalid"),
    ("PUT", "users/1", {"user": {"name": "x" * 301}}, 422, "RecordInvalid"),
    ("PUT", "users/1", {"user": {"locale": "no such thing"}}, 422, "RecordInvalid"),
    ("PUT", "users/1", {"user": {"email": "not an address"}}, 422, "RecordInvalid"),
    ("PUT", "users/1", {"user": {"email": "olga@example.ru"}}, 422, "RecordInvalid"),
    ("PUT", "users/1", {"user": {"phone": "anonymous"}}, 422, "RecordInvalid"),
    ("PUT", "users/1", {"user": {"user_fields": [1]}}, 422, "RecordInvalid"),
    ("PUT", "users/1", {"user": {"user_fields": {"a": {"b": 1}}}}, 422, "RecordInvalid"),
    ("PUT", "users/1", {"user": {"user_fields": {"": 1}}}, 422, "RecordInvalid"),
    ("PUT", "users/1", {"user": {"user_fields": {"a": "x" * 5001}}}, 422, "RecordInvalid"),
    ("PUT", "users/1", {"user": {"user_fields": {f"k{n}": n for n in range(300)}}}, 422, "RecordInvalid"),
    ("PUT", "users/1", {"user": {"verified": "yes"}}, 422, "RecordInvalid"),
    ("POST", "users/create_or_update", {"user": {}}, 422, "RecordInvalid"),
    ("POST", "users/create_or_update", {"user": {"email": "ann@example.org", "phone": "1"}}, 422, "RecordInvalid"),
    ("PUT", "users/1/merge", {"user": {"id": 1}}, 422, "RecordInvalid"),
    ("PUT", "users/1/merge", {"user": {"id": 99}}, 404, "RecordNotFound"),
    ("PUT", "users/1/merge", {"user": {}}, 422, "RecordInvalid"),
    ("POST", "users/1/unmerge", None, 422, "RecordInvalid"),
    ("POST", "users/99/unmerge", None, 404, "RecordNotFound"),
    ("POST", "suggestions/1/join", None, 404, "RecordNotFound"),
    ("POST", f"suggestions/{HUGE}/decline", None, 404, "RecordNotFound"),
    ("GET", "tickets/1/merge", None, 405, "MethodNotAllowed"),
    ("DELETE", "users/1", None, 405, "MethodNotAllowed"),
    ("GET", "receipts/nonsense/explanation", None, 404, "RecordNotFound"),
]


async def test_nonsense_is_refused_in_words_and_changes_nothing(send: Any, store: Any, ids: dict[str, Any]) -> None:
    before = await store.read(image)
    wrong = []
    for method, path, body, status, error in NONSENSE:
        got, answer = await send(method, path.format(**ids), body)
        if (got, answer.get("error")) != (status, error) or not answer.get("description"):
            wrong.append((method, path, body, got, answer))
    assert wrong == []
    assert await store.read(image) == before


async def test_bodies_that_are_no_json_object(get: Any) -> None:
    for raw in (b"{", b"\xff\xfe", b'{"comment_id": NaN}', b"[" * 100_000, b'"x"', b"null"):
        status, body, _ = await get("/api/v2/tickets/1/split", method="POST", data=raw)
        assert (status, body["error"]) == (400, "InvalidBody"), raw[:10]


async def test_a_body_has_an_end(get: Any) -> None:
    status, body, _ = await get("/api/v2/tickets/1/split", method="POST", data=io.BytesIO(b" " * 1_100_000))
    assert (status, body["error"]) == (413, "InvalidBody")


async def test_writing_needs_a_token(client: Any, ids: dict[str, Any]) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        answer = await client.post("/api/v2/tickets/1/merge", json={"ids": [2]}, headers=headers)
        assert answer.status == 401


async def test_a_session_of_the_console_does_not_open_the_api(client: Any, runtime: Any, ids: dict[str, Any]) -> None:
    await client.get(f"/console/login?token={runtime.logins.issue()}", allow_redirects=False)
    answer = await client.post("/api/v2/tickets/1/merge", json={"ids": [2]})
    assert answer.status == 401


# --- users -----------------------------------------------------------------------------------------------------------


async def test_attributes_of_the_company_are_shown_with_the_user(send: Any, ids: dict[str, Any]) -> None:
    user = {"name": "Ann", "user_fields": {"plan": None, "seats": 5, "products": ["a", "b"]}, "locale": "nl"}
    status, body = await send("PUT", f"users/{ids['ann']}.json", {"user": user})
    assert status == 200
    assert (body["user"]["name"], body["user"]["locale"]) == ("Ann", "nl")
    assert body["user"]["user_fields"] == {"seats": 5, "products": ["a", "b"]}
    _, again = await send("GET", f"users/{ids['ann']}")
    assert again["user"] == body["user"]


async def test_create_or_update(send: Any, ids: dict[str, Any]) -> None:
    new = {"name": "New", "email": "New@Example.ORG", "external_id": 77, "verified": True}
    status, body = await send("POST", "users/create_or_update.json", {"user": new})
    assert status == 201, body
    who = body["user"]["id"]
    assert (body["user"]["email"], body["user"]["external_id"]) == ("new@example.org", "77")
    status, body = await send("POST", "users/create_or_update", {"user": {"external_id": "77", "name": "Newer"}})
    assert (status, body["user"]["id"], body["user"]["name"]) == (200, who, "Newer")
    _, body = await send("GET", f"users/{who}/identities")
    [identity] = body["identities"]
    assert (identity["verified"], identity["trust"], identity["source"]) == (True, "verified", "said by an API token")


async def test_a_number_of_theirs_is_as_long_as_a_text_of_theirs(send: Any) -> None:
    """PostgreSQL indexes no value of some thousand digits."""
    status, body = await send("POST", "users/create_or_update", {"user": {"name": "Long", "external_id": 7**4000}})
    assert (status, list(body["details"])) == (422, ["external_id"])
    status, _ = await send("POST", "users/create_or_update", {"user": {"name": "Long", "external_id": 10**254}})
    assert status == 201


async def test_users_merge_and_unmerge(send: Any, store: Any, ids: dict[str, Any]) -> None:
    before = await store.read(image)
    ann, olga = ids["ann"], ids["olga"]
    status, body = await send("PUT", f"users/{olga}/merge", {"user": {"id": ann}})
    assert (status, body["user"]["id"]) == (200, ann)
    _, gone = await send("GET", f"users/{olga}")
    assert (gone["user"]["active"], gone["user"]["merged_into_id"]) == (False, ann)
    _, users = await send("GET", "users")
    assert olga not in [user["id"] for user in users["users"]]
    _, tickets = await send("GET", f"users/{ann}/tickets/requested")
    assert ids["form_ticket"] in [ticket["id"] for ticket in tickets["tickets"]]
    status, body = await send("PUT", f"users/{olga}", {"user": {"name": "x"}})
    assert (status, body["error"]) == (422, "RecordInvalid")
    status, body = await send("POST", f"users/{olga}/unmerge")
    assert (status, body["user"]["id"], body["user"]["active"]) == (200, olga, True)
    assert await store.read(image) == before


def suggest(conn: Connection) -> int:
    at = conn.scalar(select(func.max(t.events.c.at)))
    row = {"id": 1, "author": "chat:website:v-81", "claimed": "email:ann@example.org", "proven": False}
    conn.execute(t.claims.insert().values(**row, reason="gave this address", ticket_id=3, created_at=at))
    return 1


@pytest.mark.parametrize("answer", ["join", "decline"])
async def test_suggestions(send: Any, store: Any, ids: dict[str, Any], answer: str) -> None:
    await store.write(suggest)
    for who, other in (("ann", "lin"), ("lin", "ann")):
        _, body = await send("GET", f"users/{ids[who]}/suggestions")
        [one] = body["suggestions"]
        assert (one["user_id"], one["other_user_id"], one["ticket_id"]) == (ids[who], ids[other], 3)
    status, body = await send("POST", one[f"{answer}_url"].partition("/api/v2/")[2])
    assert status == 200
    _, identities = await send("GET", f"users/{ids['ann']}/identities")
    assert ("website:v-81" in [row["value"] for row in identities["identities"]]) == (answer == "join")
    _, body = await send("GET", f"users/{ids['ann']}/suggestions")
    assert body["suggestions"] == []
    status, body = await send("POST", f"suggestions/1/{answer}")
    assert (status, body["error"]) == (409, "Conflict")


# --- explanations ----------------------------------------------------------------------------------------------------


async def test_an_explanation_tells_rule_evidence_refusals_and_corrections(send: Any, ids: dict[str, Any]) -> None:
    _, body = await send("GET", f"tickets/{ids['mail_ticket']}/comments")
    second = body["comments"][1]
    await send("POST", f"tickets/{ids['mail_ticket']}/split", {"comment_id": second["id"]})
    receipt = second["metadata"]["custom"]["receipt_id"]
    status, body = await send("GET", f"receipts/{receipt}/explanation")
    told = body["explanation"]
    assert status == 200
    assert (told["receipt"]["outcome"], told["matched_by"], told["comment_id"]) == (
        "appended",
        "in_reply_to",
        second["id"],
    )
    assert told["rejected"][0]["reason"] == "ann@example.org has not taken part in it"
    assert [(one["kind"], one["actor"]) for one in told["corrections"]] == [("split", "an API token")]
    assert told["ticket_id"] != ids["mail_ticket"]


def test_the_readme_names_addresses_that_exist() -> None:
    text = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    table = text.split("## Correcting what was decided")[1].split("\n## The promise")[0]
    named = re.findall(r"`(GET|POST|PUT|DELETE) ([a-z_]+/[a-z_/{}]+)`", table)
    assert len(named) >= 12
    known = {("GET", path) for path in _ROUTES} | set(_WRITES)
    assert [one for one in named if one not in known] == []
    written = {path for _, path in named}
    assert [path for _, path in _WRITES if path not in written and not path.startswith("suggestions/")] == []
