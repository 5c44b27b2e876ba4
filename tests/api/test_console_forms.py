"""The console's buttons: what they do, where they lead, and who cannot press them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.api.conftest import TOKEN
from tests.api.test_writing import suggest
from tests.corrections.conftest import image

OURS = "https://desk.example"


@pytest.fixture
async def press(client: Any, runtime: Any) -> Callable[..., Any]:
    """Press a button as a signed-in browser would: status, where it leads, text."""
    token = await _sign_in(client, runtime)

    async def call(path: str, *, follow: bool = False, **fields: Any) -> tuple[int, str, str]:
        form = {"form_token": token, **fields}
        answer = await client.post(
            f"/console/{path}", data=form, headers={"Origin": OURS}, allow_redirects=False, cookies=_cookies(client)
        )
        return answer.status, answer.headers.get("Location", ""), await answer.text()

    return call


async def _sign_in(client: Any, runtime: Any) -> str:
    cookie = runtime.logins.consume(runtime.logins.issue())
    client.session_cookie = cookie
    return str(runtime.logins.form_token(cookie))


def _cookies(client: Any) -> dict[str, str]:
    return {"__Secure-frontdesk_console": client.session_cookie}


async def show(client: Any, path: str) -> str:
    answer = await client.get(path.removeprefix("/support"), cookies=_cookies(client))
    assert answer.status == 200
    return str(await answer.text())


async def test_split_move_merge_relate_undo(client: Any, press: Any, ids: dict[str, Any]) -> None:
    first, form, chat = ids["mail_ticket"], ids["form_ticket"], ids["chat_ticket"]
    status, where, _ = await press(f"tickets/{first}/split", comment_id=ids["mail_comment"] + 1, and_following="yes")
    new, event = re.findall(r"/support/console/tickets/(\d+)\?done=(\d+)$", where)[0]
    assert (status, int(new) > first) == (303, True)
    page = await show(client, where)
    assert f"split off #{first} into #{new} by console" in page
    assert f"/console/events/{event}/undo" in page
    assert "Kept apart from" in page
    assert f"#{new}" in await show(client, f"/console/tickets/{first}")
    status, where, _ = await press(f"events/{event}/undo", back=new)
    assert status == 303
    page = await show(client, where)
    assert "Undone by console" in page
    assert "undone by console" in page
    assert f"/console/events/{event}/undo" not in page
    assert (await press(f"tickets/{form}/relate", ticket_id=f"#{chat}"))[0] == 303
    status, where, _ = await press(f"tickets/{form}/merge", ticket_id=first)
    assert (status, f"/tickets/{first}?" in where) == (303, True)
    assert f"#{form} merged into #{first} by console" in await show(client, where)
    status, where, _ = await press(f"tickets/{chat}/move", comment_id=5, ticket_id=first)
    assert (status, f"/tickets/{first}?" in where) == (303, True)
    assert "Corrected since: 1 message moved from" in await show(client, where)


async def test_events_say_who_pressed(client: Any, runtime: Any, ids: dict[str, Any]) -> None:
    cookie = runtime.logins.consume(runtime.logins.issue("Ada Lovelace"))
    client.session_cookie = cookie
    form = {"form_token": runtime.logins.form_token(cookie), "ticket_id": str(ids["chat_ticket"])}
    path = f"/console/tickets/{ids['mail_ticket']}/relate"
    answer = await client.post(
        path, data=form, headers={"Origin": OURS}, allow_redirects=False, cookies=_cookies(client)
    )
    page = await show(client, answer.headers["Location"])
    assert "by Ada Lovelace" in page
    assert "<span>Ada Lovelace</span>" in page


@pytest.mark.parametrize("same", ["yes", "no"])
async def test_a_suggestion_is_shown_and_decided(
    client: Any, press: Any, store: Any, ids: dict[str, Any], same: str
) -> None:
    await store.write(suggest)
    page = await show(client, f"/console/tickets/{ids['mail_ticket']}")
    assert "Perhaps the same person" in page
    assert "林小明" in page
    status, where, _ = await press("suggestions/1", same=same, back=ids["mail_ticket"])
    assert (status, "/console/tickets/" in where) == (303, True)
    page = await show(client, f"/console/tickets/{ids['mail_ticket']}")
    assert "Perhaps the same person" not in page
    assert ("website:v-81" in page) == (same == "yes")


async def test_what_cannot_be_done_is_a_page_with_a_sentence(press: Any, store: Any, ids: dict[str, Any]) -> None:
    before = await store.read(image)
    attempts: list[tuple[str, dict[str, Any], int, str]] = [
        ("tickets/1/split", {}, 422, "Give the number of a message"),
        ("tickets/1/split", {"comment_id": "1; DROP TABLE"}, 422, "Give the number of a message"),
        ("tickets/1/move", {"comment_id": 1, "ticket_id": "9" * 30}, 422, "Give the number of a ticket"),
        ("tickets/1/move", {"comment_id": 1, "ticket_id": "٣"}, 422, "Give the number of a ticket"),
        ("tickets/99/split", {"comment_id": 1}, 404, "There is no ticket #99"),
        ("tickets/1/merge", {"ticket_id": 1}, 422, "cannot be merged into itself"),
        ("events/1/undo", {"back": 1}, 422, "is no correction"),
        ("events/999/undo", {"back": "x"}, 404, "There is no event 999"),
        ("suggestions/1", {"same": "maybe"}, 422, "Say whether they are the same person"),
        ("suggestions/1", {"same": "yes"}, 404, "There is no suggestion 1"),
    ]
    for path, fields, status, sentence in attempts:
        got, _, text = await press(path, **fields)
        assert (got, sentence in text) == (status, True), (path, fields, text[-600:])
    assert await store.read(image) == before


REFUSED: dict[str, tuple[dict[str, str], dict[str, str], int]] = {
    "no session": ({"Origin": OURS}, {"cookie": "", "form_token": "x"}, 403),
    "another site's form": ({"Origin": "https://evil.example"}, {}, 403),
    "a sandboxed page": ({"Origin": "null"}, {}, 403),
    "no origin at all": ({}, {}, 403),
    "no token": ({"Origin": OURS}, {"form_token": ""}, 403),
    "a guessed token": ({"Origin": OURS}, {"form_token": "A" * 43}, 403),
    "the token of another session": ({"Origin": OURS}, {"form_token": "other"}, 403),
    "an API token instead": ({"Origin": OURS, "Authorization": f"Bearer {TOKEN}"}, {"cookie": ""}, 403),
    "too many fields": ({"Origin": OURS}, {f"f{n}": "" for n in range(30)}, 400),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_who_cannot_press(client: Any, runtime: Any, store: Any, ids: dict[str, Any], name: str) -> None:
    headers, changes, status = REFUSED[name]
    token = await _sign_in(client, runtime)
    if changes.get("form_token") == "other":
        changes = {"form_token": runtime.logins.form_token(runtime.logins.consume(runtime.logins.issue()))}
    before = await store.read(image)
    cookies = _cookies(client) if changes.get("cookie", "yes") else {}
    form = {"comment_id": str(ids["mail_comment"] + 1), "and_following": "yes", "form_token": token, **changes}
    path = f"/console/tickets/{ids['mail_ticket']}/split"
    answer = await client.post(path, data=form, headers=headers, cookies=cookies, allow_redirects=False)
    assert answer.status == status, await answer.text()
    assert await store.read(image) == before


async def test_bodies_that_are_no_form(client: Any, runtime: Any, ids: dict[str, Any]) -> None:
    await _sign_in(client, runtime)
    for body, status in ((b"\xff\xfe", 400), (b"x" * 70_000, 413), (b"", 403), (urlencode({"a": 1}).encode(), 403)):
        answer = await client.post(
            "/console/tickets/1/merge", data=body, headers={"Origin": OURS}, cookies=_cookies(client)
        )
        assert answer.status == status, body[:20]


async def test_without_a_session_there_are_no_buttons(client: Any, ids: dict[str, Any]) -> None:
    path = f"/console/tickets/{ids['mail_ticket']}"
    answer = await client.get(path, headers={"Authorization": f"Bearer {TOKEN}"})
    text = await answer.text()
    assert answer.status == 200
    assert "form_token" not in text
    assert "Split off" not in text


async def test_a_receipt_explains_itself(client: Any, press: Any, store: Any, ids: dict[str, Any]) -> None:
    page = await show(client, f"/console/tickets/{ids['mail_ticket']}")
    receipts = re.findall(r"/console/receipts/([0-9a-f-]{36})", page)
    told = await show(client, f"/console/receipts/{receipts[1]}")
    assert "It answers &lt;a1@example.org&gt;" in told
    assert "ann@example.org has not taken part in it" in told
