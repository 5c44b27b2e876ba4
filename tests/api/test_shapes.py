"""The API on the wire: Zendesk v2's shapes, on both databases, with and without `.json`."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.api.conftest import BASE


def fields(names: str) -> list[str]:
    return names.split()


TICKET_FIELDS = fields(
    "id url external_id via created_at updated_at generated_timestamp type subject raw_subject "
    "description priority status recipient requester_id submitter_id assignee_id organization_id group_id "
    "collaborator_ids follower_ids email_cc_ids forum_topic_id problem_id has_incidents is_public due_at "
    "tags custom_fields fields satisfaction_rating sharing_agreement_ids custom_status_id followup_ids "
    "ticket_form_id brand_id allow_channelback allow_attachments from_messaging_channel"
)
USER_FIELDS = fields(
    "id url name email phone role verified active locale time_zone organization_id external_id tags "
    "suspended user_fields created_at updated_at photo"
)
COMMENT_FIELDS = fields(
    "id type author_id body html_body plain_body public attachments audit_id via created_at metadata"
)
FILE_FIELDS = fields(
    "id url file_name content_url mapped_content_url content_type size width height inline deleted thumbnails"
)
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")

# path, what it must hold: a name -> its type in the envelope
ENVELOPES = [
    ("tickets", "tickets", list),
    ("tickets/1", "ticket", dict),
    ("tickets/1/comments", "comments", list),
    ("tickets/1/audits", "audits", list),
    ("tickets/1/tags", "tags", list),
    ("tickets/1/collaborators", "users", list),
    ("tickets/1/incidents", "tickets", list),
    ("tickets/count", "count", dict),
    ("tickets/1/comments/count", "count", dict),
    ("tickets/recent", "tickets", list),
    ("tickets/show_many?ids=1,2", "tickets", list),
    ("incremental/tickets/cursor?start_time=0", "tickets", list),
    ("users", "users", list),
    ("users/1", "user", dict),
    ("users/-1", "user", dict),
    ("users/me", "user", dict),
    ("users/count", "count", dict),
    ("users/show_many?ids=1,2", "users", list),
    ("users/search?query=ann", "users", list),
    ("users/autocomplete?name=ann", "users", list),
    ("users/1/identities", "identities", list),
    ("users/1/tickets/requested", "tickets", list),
    ("users/1/tickets/assigned", "tickets", list),
    ("search?query=parcel", "results", list),
    ("search/count?query=parcel", "count", int),
    ("search/export?query=parcel&filter[type]=ticket", "results", list),
    ("suspended_tickets", "suspended_tickets", list),
    ("suspended_tickets/1", "suspended_ticket", dict),
    ("attachments/1", "attachment", dict),
    ("locales", "locales", list),
    ("account/settings", "settings", dict),
    ("groups", "groups", list),
    ("organizations", "organizations", list),
    ("views", "views", list),
    ("ticket_fields", "ticket_fields", list),
    ("macros", "macros", list),
    ("triggers", "triggers", list),
    ("brands", "brands", list),
    ("tags", "tags", list),
    ("satisfaction_ratings", "satisfaction_ratings", list),
]


@pytest.mark.usefixtures("ids")
async def test_every_path_answers_with_and_without_json(get: Any) -> None:
    for path, name, kind in ENVELOPES:
        bare, _, query = path.partition("?")
        for ending in ("", ".json"):
            status, body, headers = await get(f"/api/v2/{bare}{ending}?include=None&junk=1&{query}")
            assert status == 200, (path, body)
            assert type(body[name]) is kind, path
            assert headers["Content-Type"] == "application/json; charset=utf-8"
            for header in ("X-Rate-Limit", "X-Rate-Limit-Remaining", "ratelimit-limit", "ratelimit-remaining"):
                assert int(headers[header]) > 0
            assert 1 <= int(headers["ratelimit-reset"]) <= 60


@pytest.mark.usefixtures("ids")
async def test_lists_by_cursor_and_by_offset(get: Any) -> None:
    for path, name, kind in ENVELOPES:
        if (
            kind is not list
            or path.startswith(("tickets/recent", "incremental", "tickets/1/tags", "search/export"))
            or "show_many" in path
        ):
            continue
        joined = "&" if "?" in path else "?"
        _, body, _ = await get(f"/api/v2/{path}")
        assert type(body["count"]) is int, path
        assert body["next_page"] is None
        assert body["previous_page"] is None
        assert "meta" not in body
        if path.startswith("search"):
            continue
        _, body, _ = await get(f"/api/v2/{path}{joined}page%5Bsize%5D=100")
        assert body["meta"]["has_more"] is False, path
        assert body["links"] == {"next": None, "prev": None}
        assert set(body) - {"facets"} == {name, "meta", "links"}, path
        assert (body["meta"]["after_cursor"] is None) == (not body[name] or path.startswith(STATIC)), path


STATIC = ("locales", "users/1/identities", "tickets/show_many", "users/show_many")


async def test_ticket(get: Any, ids: dict[str, Any]) -> None:
    _, body, _ = await get(f"/api/v2/tickets/{ids['mail_ticket']}.json")
    ticket = body["ticket"]
    assert set(TICKET_FIELDS) <= set(ticket)
    assert ticket["url"] == f"{BASE}/api/v2/tickets/{ticket['id']}.json"
    assert ticket["subject"] == ticket["raw_subject"] == "Parcel arrived broken"
    assert ticket["description"].startswith("Hello,\n\nthe parcel arrived broken & wet")
    assert ticket["requester_id"] == ticket["submitter_id"] == ids["ann"]
    assert ticket["recipient"] == "help@desk.example"
    assert ticket["status"] == "open"
    assert ticket["via"] == {
        "channel": "email",
        "source": {
            "from": {"name": "Ann de Vries", "address": "ann@example.org"},
            "to": {"name": None, "address": "help@desk.example"},
            "rel": None,
        },
    }
    assert MOMENT.fullmatch(ticket["created_at"])
    assert MOMENT.fullmatch(ticket["updated_at"])
    assert type(ticket["generated_timestamp"]) is int
    embedded = {"requester", "submitter", "assignee", "organization", "group", "brand"}
    assert not embedded & set(ticket)


@pytest.mark.parametrize(
    ("which", "channel"),
    [
        ("mail_ticket", "email"),
        ("form_ticket", "web"),
        ("chat_ticket", "native_messaging"),
        ("call_ticket", "voice"),
        ("tweet_ticket", "twitter"),
    ],
)
async def test_via_of_each_channel(get: Any, ids: dict[str, Any], which: str, channel: str) -> None:
    _, body, _ = await get(f"/api/v2/tickets/{ids[which]}")
    assert body["ticket"]["via"]["channel"] == channel
    _, body, _ = await get(f"/api/v2/tickets/{ids[which]}/comments")
    assert {comment["via"]["channel"] for comment in body["comments"]} == {channel}


async def test_comments_of_a_mail_ticket(get: Any, ids: dict[str, Any]) -> None:
    _, body, _ = await get(f"/api/v2/tickets/{ids['mail_ticket']}/comments.json?include_inline_images=false")
    assert set(body) == {"comments", "count", "next_page", "previous_page"}
    assert body["count"] == 3
    assert [said["id"] for said in body["comments"]] == sorted(said["id"] for said in body["comments"])
    first, second, third = body["comments"]
    assert set(COMMENT_FIELDS) <= set(first)
    assert first["metadata"]["system"]["message_id"] == "<a1@example.org>"
    custom = first["metadata"]["custom"]
    assert re.fullmatch(r"[0-9a-f-]{36}", custom["receipt_id"])
    assert (custom["verdict"], custom["matched_by"], custom["trust"]) == ("new", "none", "verified")
    assert second["metadata"]["custom"]["matched_by"] == "in_reply_to"
    assert second["metadata"]["custom"]["explanation"]["evidence"] == "a1@example.org"
    assert third["metadata"]["custom"]["automated"][0]["name"] == "auto_submitted"
    assert first["plain_body"] == first["body"]
    assert "<b>arrived broken</b>" in first["html_body"]
    for danger in ("<script", "onerror", "tracker.invalid"):
        assert danger not in first["html_body"]
    assert second["html_body"] == '<div class="zd-comment" dir="auto">Any news? It has been a week.</div>'


async def test_plain_text_becomes_escaped_html(get: Any, ids: dict[str, Any]) -> None:
    _, body, _ = await get(f"/api/v2/tickets/{ids['tweet_ticket']}/comments")
    assert "&lt;b&gt;again&lt;/b&gt;" in body["comments"][0]["html_body"]
    assert body["comments"][0]["body"].endswith("<b>again</b>")
    assert "message_id" not in body["comments"][0]["metadata"]["system"]


async def test_comments_newest_first(get: Any, ids: dict[str, Any]) -> None:
    path = f"/api/v2/tickets/{ids['mail_ticket']}/comments"
    oldest = [said["id"] for said in (await get(path))[1]["comments"]]
    for query in ("sort_order=desc", "sort=-created_at", "page[size]=100&sort=-created_at"):
        assert [said["id"] for said in (await get(f"{path}?{query}"))[1]["comments"]] == oldest[::-1], query


async def test_unknown_author_is_a_user_one_can_look_up(get: Any, ids: dict[str, Any]) -> None:
    _, body, _ = await get(f"/api/v2/tickets/{ids['call_ticket']}")
    nobody = body["ticket"]["requester_id"]
    assert type(nobody) is int
    _, comments, _ = await get(f"/api/v2/tickets/{ids['call_ticket']}/comments")
    assert comments["comments"][0]["author_id"] == nobody
    status, body, _ = await get(f"/api/v2/users/{nobody}.json")
    assert (status, body["user"]["id"], body["user"]["role"]) == (200, nobody, "end-user")


async def test_merged_ticket_is_closed_and_listed_nowhere(get: Any, ids: dict[str, Any]) -> None:
    merged, survivor = ids["merged_ticket"], ids["mail_ticket"]
    _, body, _ = await get(f"/api/v2/tickets/{merged}.json")
    assert (body["ticket"]["status"], body["ticket"]["merged_into_id"]) == ("closed", survivor)
    assert body["ticket"]["tags"] == ["closed_by_merge"]
    for path, name in [
        ("tickets", "tickets"),
        (f"users/{ids['ann']}/tickets/requested", "tickets"),
        ("search?query=parcel", "results"),
        ("tickets/recent", "tickets"),
    ]:
        _, body, _ = await get(f"/api/v2/{path}")
        assert merged not in [row["id"] for row in body[name]], path
        assert survivor in [row["id"] for row in body[name]], path
    _, body, _ = await get("/api/v2/tickets/count")
    assert body["count"]["value"] == 5
    _, body, _ = await get("/api/v2/search?query=umbrella-yellow")
    assert [row["id"] for row in body["results"]] == [survivor]


async def test_the_incremental_export_says_that_a_ticket_was_merged(get: Any, ids: dict[str, Any]) -> None:
    """Or a copy that is kept by it would show the ticket open for ever."""
    _, body, _ = await get("/api/v2/incremental/tickets/cursor?start_time=0")
    told = {row["id"]: (row["status"], row["merged_into_id"]) for row in body["tickets"]}
    assert told[ids["merged_ticket"]] == ("closed", ids["mail_ticket"])
    assert told[ids["mail_ticket"]][1] is None


async def test_show_many_keeps_the_order_and_skips_what_is_not_there(get: Any, ids: dict[str, Any]) -> None:
    _, body, _ = await get(f"/api/v2/tickets/show_many.json?ids={ids['tweet_ticket']},999,x,{ids['mail_ticket']}")
    assert [row["id"] for row in body["tickets"]] == [ids["tweet_ticket"], ids["mail_ticket"]]
    assert (body["count"], body["next_page"]) == (2, None)
    _, body, _ = await get(f"/api/v2/users/show_many.json?ids={ids['sam']},{ids['ann']}")
    assert [row["name"] for row in body["users"]] == ["Sam Okafor", "Ann de Vries"]
    status, body, _ = await get("/api/v2/tickets/show_many?ids=" + ",".join(map(str, range(101))))
    assert (status, body["error"]) == (400, "TooManyIds")


async def test_user(get: Any, ids: dict[str, Any]) -> None:
    _, body, _ = await get(f"/api/v2/users/{ids['ann']}.json")
    user = body["user"]
    assert set(USER_FIELDS) <= set(user)
    assert (user["name"], user["email"], user["phone"]) == ("Ann de Vries", "ann@example.org", "+31612345678")
    assert (user["role"], user["verified"], user["user_fields"]) == ("end-user", True, {"plan": "Team"})
    _, body, _ = await get(f"/api/v2/users/{ids['ann']}/identities")
    assert [(one["type"], one["verified"]) for one in body["identities"]] == [("email", True), ("phone_number", False)]


async def test_people_come_along_only_when_asked(get: Any, ids: dict[str, Any]) -> None:
    for path in ("tickets", f"tickets/{ids['call_ticket']}", f"tickets/{ids['mail_ticket']}/comments"):
        assert "users" not in (await get(f"/api/v2/{path}"))[1], path
        people = (await get(f"/api/v2/{path}?include=users"))[1]["users"]
        assert people, path
        assert all(set(USER_FIELDS) <= set(one) for one in people)


async def test_attachment(get: Any, client: Any, ids: dict[str, Any]) -> None:
    _, body, _ = await get(f"/api/v2/tickets/{ids['mail_ticket']}/comments")
    photo, evil = body["comments"][0]["attachments"]
    for file in (photo, evil):
        assert set(FILE_FIELDS) <= set(file)
        assert file["content_url"].startswith(f"{BASE}/api/v2/attachments/{file['id']}/content/")
    _, body, _ = await get(f"/api/v2/attachments/{photo['id']}.json")
    assert body == {"attachment": photo}
    for file, kind in ((photo, "image/png"), (evil, "image/svg+xml")):
        path = file["content_url"].removeprefix(BASE)
        refused = await client.get(path)
        assert refused.status == 401
        answer = await client.get(path, headers={"Authorization": "Bearer test-token-1"})
        assert answer.status == 200
        assert len(await answer.read()) == file["size"]
        assert answer.headers["Content-Type"] == kind
        assert answer.headers["Content-Disposition"].startswith("attachment;")
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "sandbox" in answer.headers["Content-Security-Policy"]


async def test_attachment_whose_bytes_are_elsewhere(get: Any, ids: dict[str, Any]) -> None:
    _, body, _ = await get(f"/api/v2/tickets/{ids['call_ticket']}/comments")
    status, body, _ = await get(body["comments"][0]["attachments"][0]["content_url"])
    assert (status, body["error"]) == (404, "RecordNotFound")
    assert "provider" in body["description"]


async def test_suspended(get: Any, ids: dict[str, Any]) -> None:
    _, body, _ = await get(f"/api/v2/suspended_tickets/{ids['suspended']}.json")
    held = body["suspended_ticket"]
    assert held["cause"] == "the mail could not be read: <b>too many parts</b>"
    assert held["author"] == {"id": None, "name": "Mallory", "email": "mallory@evil.example"}
    assert (held["message_id"], held["recipient"]) == ("<m1@evil.example>", "help@desk.example")
    assert [file["file_name"] for file in held["attachments"]] == ["huge.bin"]


async def test_receipt_follows_the_merge(get: Any, ids: dict[str, Any]) -> None:
    for ending in ("", ".json"):
        _, body, _ = await get(f"/api/v2/receipts/{ids['duplicate_receipt']}{ending}")
        receipt = body["receipt"]
        assert (receipt["outcome"], receipt["reason"]) == ("duplicate", "the same delivery again")
        assert receipt["ticket_id"] == ids["mail_ticket"]
        assert receipt["ticket_url"] == f"{BASE}/api/v2/tickets/{ids['mail_ticket']}.json"


@pytest.mark.parametrize(
    ("method", "path", "status", "error"),
    [
        ("GET", "tickets/999999", 404, "RecordNotFound"),
        ("GET", "tickets/0", 404, "RecordNotFound"),
        ("GET", "tickets/-5", 404, "RecordNotFound"),
        ("GET", "tickets/99999999999999999999999999", 404, "RecordNotFound"),
        ("GET", "tickets/999999/comments", 404, "RecordNotFound"),
        ("GET", "users/999999", 404, "RecordNotFound"),
        ("GET", "users/999999/tickets/requested", 404, "RecordNotFound"),
        ("GET", "attachments/99999999999999999999999999", 404, "RecordNotFound"),
        ("GET", "suspended_tickets/99999999999999999999", 404, "RecordNotFound"),
        ("GET", "receipts/nonsense", 404, "RecordNotFound"),
        ("GET", "receipts/0193f2a5-7c1e-7b7c-8a4e-1c9b2f6d0e11", 404, "RecordNotFound"),
        ("GET", "no/such/thing", 404, "RecordNotFound"),
        ("GET", "../v3/tickets", 404, "RecordNotFound"),
        ("GET", "tickets?page[size]=0", 400, "InvalidPaginationParameter"),
        ("GET", "tickets?page[size]=many", 400, "InvalidPaginationParameter"),
        ("GET", "tickets?page[size]=10&page[after]=junk", 400, "InvalidPaginationParameter"),
        ("GET", "tickets?page[size]=10&page[after]=WyJpZCIsIngiLDFd", 400, "InvalidPaginationParameter"),
        ("GET", "tickets?page[after]=a&page[before]=b", 400, "InvalidPaginationParameter"),
        ("GET", "tickets?page=-1", 400, "InvalidPaginationParameter"),
        ("GET", "tickets?page=99999999", 400, "InvalidPaginationParameter"),
        ("GET", "incremental/tickets/cursor", 400, "InvalidValue"),
        ("GET", "incremental/tickets/cursor?start_time=99999999999999", 400, "InvalidValue"),
        ("GET", "search", 400, "InvalidSearch"),
        ("GET", "search?query=status:lost", 400, "InvalidSearch"),
        ("GET", "search?query=created>yesterdayish", 400, "InvalidSearch"),
        ("GET", "search?query=created>9999years", 400, "InvalidSearch"),
        ("GET", "search?query=created:9999-12-31", 400, "InvalidSearch"),
        ("GET", "search?query=updated<9999-12-31T23:59:59-14:00", 400, "InvalidSearch"),
        ("GET", "search?query=ticket_id:99999999999999999999", 400, "InvalidSearch"),
        ("GET", "search?query=" + "x" * 2001, 400, "InvalidSearch"),
        ("GET", "search?query=" + "x+" * 21, 400, "InvalidSearch"),
        ("POST", "tickets.json", 405, "MethodNotAllowed"),
        ("PUT", "tickets/1.json", 405, "MethodNotAllowed"),
        ("DELETE", "tickets/1", 405, "MethodNotAllowed"),
        ("PATCH", "no/such/thing", 405, "MethodNotAllowed"),
        ("POST", "uploads.json?filename=a", 405, "MethodNotAllowed"),
    ],
)
@pytest.mark.usefixtures("ids")
async def test_what_cannot_be_answered(get: Any, method: str, path: str, status: int, error: str) -> None:
    got, body, headers = await get(f"/api/v2/{path}", method=method)
    assert (got, body["error"]) == (status, error), body
    assert body["description"]
    assert "X-Rate-Limit" in headers
    assert (headers.get("Allow") == "GET, HEAD") == (status == 405)


async def test_exact_bodies_that_clients_match(get: Any, ids: dict[str, Any]) -> None:
    _, body, _ = await get("/api/v2/tickets/999999.json")
    assert body == {"error": "RecordNotFound", "description": "Not found"}
    status, body, _ = await get("/api/v2/tickets/abc.json")
    assert (status, body["error"]["title"]) == (400, "Invalid attribute")


async def test_empty_desk(get: Any) -> None:
    """The two empty envelopes, to the letter."""
    _, body, _ = await get("/api/v2/tickets.json?page[size]=100")
    assert body == {
        "tickets": [],
        "meta": {"has_more": False, "after_cursor": None, "before_cursor": None},
        "links": {"next": None, "prev": None},
    }
    _, body, _ = await get("/api/v2/tickets.json")
    assert body == {"tickets": [], "count": 0, "next_page": None, "previous_page": None}
