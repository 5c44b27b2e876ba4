"""Who may look: tokens, one-time links, sessions."""

from __future__ import annotations

import base64
from http.cookies import SimpleCookie
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from pydantic import SecretStr
from yarl import URL

from gateway.settings import Settings
from gateway.web.auth import LINK_SECONDS, SESSION_SECONDS, Logins, find_caller
from tests.api.conftest import TOKEN, Runtime, make_app


def basic(text: str) -> str:
    return f"Basic {base64.b64encode(text.encode()).decode()}"


TOKENS = [SecretStr("first"), SecretStr("zweites-Geheimnis-ü")]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("Bearer first", ""),
        ("bearer first", ""),
        ("Bearer  first ", ""),
        ("Bearer zweites-Geheimnis-ü", ""),
        (basic("ann@example.org/token:first"), "ann@example.org"),
        (basic("ann@example.org/token:zweites-Geheimnis-ü"), "ann@example.org"),
        (basic("/token:first"), ""),
        (basic("ann@example.org:first"), None),  # a password, as Zendesk refuses it
        (basic("ann@example.org/TOKEN:first"), None),
        (basic("ann@example.org/token:wrong"), None),
        (basic("ann@example.org/token:"), None),
        (basic("ann@example.org/token"), None),
        (basic("token:first"), None),
        ("Basic !!!", None),
        ("Basic " + base64.b64encode(b"\xff\xfe/token:first").decode(), None),
        ("Basic", None),
        ("Bearer", None),
        ("Bearer ", None),
        ("Bearer wrong", None),
        ("Bearer \udcff", None),
        ("Digest first", None),
        ("first", None),
        ("", None),
    ],
)
def test_authorization_header(given: str, expected: str | None) -> None:
    caller = find_caller(given, TOKENS)
    assert (caller.email if caller else None) == expected


def test_no_configured_token_opens_nothing() -> None:
    for given in ("", "Bearer ", "Bearer x", basic("a/token:")):
        assert find_caller(given, []) is None
        assert find_caller(given, [SecretStr("")]) is None


@pytest.mark.parametrize("header", ["", "Bearer wrong", basic(f"ann@example.org:{TOKEN}")])
async def test_refusal_is_zendesks_to_the_letter(client: Any, header: str) -> None:
    for path in ("tickets.json", "no/such/path", "attachments/1/content/x"):
        answer = await client.get(f"/api/v2/{path}", headers={"Authorization": header} if header else {})
        assert answer.status == 401
        assert await answer.json() == {"error": "Couldn't authenticate you"}
        assert answer.headers["WWW-Authenticate"] == 'Basic realm="Web Password"'
        assert int(answer.headers["ratelimit-remaining"]) > 0


async def test_without_a_configured_token_the_refusal_says_what_to_set(store: Any, blobs: Any) -> None:
    app = make_app(Runtime(Settings(), store, blobs))
    async with TestClient(TestServer(app)) as client:
        answer = await client.get("/api/v2/tickets.json", headers={"Authorization": "Bearer x"})
        assert "FRONTDESK_API_TOKENS" in (await answer.json())["description"]


async def test_me_is_the_holder_of_the_token(client: Any) -> None:
    answer = await client.get(
        "/api/v2/users/me.json", headers={"Authorization": basic(f"ann@desk.example/token:{TOKEN}")}
    )
    me = (await answer.json())["user"]
    assert (me["email"], me["role"]) == ("ann@desk.example", "admin")
    answer = await client.get(f"/api/v2/users/{me['id']}", headers={"Authorization": f"Bearer {TOKEN}"})
    assert (await answer.json())["user"]["id"] == me["id"]


async def test_a_caller_whose_name_no_database_keeps(client: Any) -> None:
    """It is kept in events and beside addresses, and PostgreSQL has no NUL."""
    said = {"Authorization": basic(f"ann\0@desk.example/token:{TOKEN}")}
    answer = await client.post(
        "/api/v2/users/create_or_update", headers=said, json={"user": {"email": "bob@example.org"}}
    )
    assert answer.status == 201
    answer = await client.get(f"/api/v2/users/{(await answer.json())['user']['id']}/identities", headers=said)
    assert (await answer.json())["identities"][0]["source"] == "said by ann@desk.example"


@pytest.mark.usefixtures("ids")
@pytest.mark.parametrize(
    "path",
    [
        "/api/v2/users/search?query=a%00b",
        "/api/v2/users/autocomplete?name=%00",
        "/api/v2/dead_letters?reason=a%00b",
        "/api/v2/dead_letters?channel=%00&inbox=%00",
        "/console?channel=%00",
        "/console?channel=a%00b&list=waiting",
    ],
)
async def test_words_that_no_database_takes_find_nothing_odd(client: Any, path: str) -> None:
    answer = await client.get(URL(path, encoded=True), headers={"Authorization": f"Bearer {TOKEN}"})
    assert answer.status == 200


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def test_link_opens_one_session_once() -> None:
    logins = Logins(clock=Clock())
    token = logins.issue()
    cookie = logins.consume(token)
    assert cookie is not None
    assert logins.is_open(cookie)
    assert logins.consume(token) is None
    assert cookie not in repr(vars(logins))
    logins.close(cookie)
    assert not logins.is_open(cookie)


@pytest.mark.parametrize("name", ["Ada", "Zoë Ågren-Ōta", "  Ada   Lovelace ", "x" * 80, "名" * 80])
def test_a_link_made_for_somebody_opens_their_session(name: str) -> None:
    logins = Logins(clock=Clock())
    token = logins.issue(name)
    assert len(token) < 800
    cookie = logins.consume(token) or ""
    assert logins.name_of(cookie) == " ".join(name.split())
    assert logins.name_of(logins.consume(logins.issue()) or "") == ""
    logins.close(cookie)
    assert logins.name_of(cookie) == ""


@pytest.mark.parametrize("name", ["x" * 81, "Ada\0", "frontdesk", "Console", "\u202eadA", "   "])
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(ValueError, match="a name has 1 to 80 printable characters"):
        Logins(clock=Clock()).issue(name)


def test_a_name_cannot_be_put_into_a_link() -> None:
    logins = Logins(clock=Clock())
    moment, millis, random, name, mac = logins.issue("Ada").split(".")
    for other in ("Qm9i", "", "!!!!"):
        assert name != other
        assert logins.consume(".".join((moment, millis, random, other, mac))) is None


def test_links_and_sessions_end() -> None:
    clock = Clock()
    logins = Logins(clock=clock)
    late, early = logins.issue(), logins.issue()
    clock.now += LINK_SECONDS - 1
    cookie = logins.consume(early)
    assert cookie is not None
    clock.now += 2
    assert logins.consume(late) is None
    clock.now += SESSION_SECONDS - 3
    assert logins.is_open(cookie)
    clock.now += 2
    assert not logins.is_open(cookie)


def test_a_process_with_the_same_secret_can_issue_and_a_restart_forgets_nothing_used() -> None:
    clock, secret = Clock(), b"s" * 32
    logins = Logins(secret, clock=clock)
    used = logins.issue()
    assert logins.consume(used) is not None
    clock.now += 300
    restarted = Logins(secret, clock=clock)
    assert restarted.consume(used) is None
    assert restarted.consume(Logins(secret, clock=clock).issue()) is not None


@pytest.mark.parametrize("change", ["", "x", "1.2.3", "..", "\udcff", "é.é.é", "9" * 400])
def test_forged_links(change: str) -> None:
    logins = Logins(clock=Clock())
    assert logins.consume(change) is None
    assert logins.consume(logins.issue() + change + "A") is None
    assert logins.consume("1" + logins.issue()) is None


def test_sessions_are_bounded() -> None:
    logins = Logins(clock=Clock())
    cookies = [logins.consume(logins.issue()) or "" for _ in range(1100)]
    assert sum(map(logins.is_open, cookies)) == 1000
    assert logins.is_open(cookies[-1])


PRIVATE_PAGES = [
    "/console",
    "/console/",
    "/console?list=dead",
    "/console/tickets/1",
    "/console/tickets/999",
    "/console/suspended/1",
    "/console/suspended/1/original",
    "/console/dead/1",
    "/console/dead/1/body",
    "/console/receipts/x",
    "/console/comments/1/html",
    "/console/comments/1/text",
    "/console/comments/1/original",
    "/console/attachments/1/preview",
    "/console/attachments/1/photo.png",
    "/console/events",
    "/console/nothing/here",
]


@pytest.mark.usefixtures("ids")
async def test_console_without_a_session(client: Any) -> None:
    for path in PRIVATE_PAGES:
        answer = await client.get(path)
        text = await answer.text()
        assert answer.status == 403, path
        assert "frontdesk console-link" in text
        assert "Ann" not in text
        answer = await client.get(
            path, headers={"Cookie": "frontdesk_console=forged; __Secure-frontdesk_console=forged"}
        )
        assert answer.status == 403, path


@pytest.mark.usefixtures("ids")
async def test_login_link(client: Any, runtime: Runtime) -> None:
    token = runtime.logins.issue()
    ahead = await client.get(
        f"/console/login?token={token}", headers={"Sec-Purpose": "prefetch"}, allow_redirects=False
    )
    assert ahead.status == 503
    assert (await client.head(f"/console/login?token={token}")).status == 403  # looking is not opening
    answer = await client.get(f"/console/login?token={token}", allow_redirects=False)
    assert (answer.status, answer.headers["Location"]) == (303, "/support/console")
    cookie = SimpleCookie(answer.headers["Set-Cookie"])["__Secure-frontdesk_console"]
    assert (cookie["httponly"], cookie["secure"], cookie["samesite"]) == (True, True, "Lax")
    assert (cookie["path"], cookie["max-age"]) == ("/support/console", str(12 * 3600))
    headers = {"Cookie": f"__Secure-frontdesk_console={cookie.value}"}
    assert (await client.get("/console", headers=headers)).status == 200
    again = await client.get(f"/console/login?token={token}", allow_redirects=False)
    assert again.status == 403
    assert "has been used or has expired" in await again.text()
    answer = await client.get(f"/console/login?token={token}", headers=headers, allow_redirects=False)
    assert answer.status == 303  # the same link in the browser it opened
    assert (await client.post("/console/logout", headers=headers)).status == 200
    assert (await client.get("/console", headers=headers)).status == 403


@pytest.mark.usefixtures("ids")
async def test_api_token_opens_the_console(client: Any) -> None:
    assert (await client.get("/console", headers={"Authorization": f"Bearer {TOKEN}"})).status == 200
    assert (await client.get("/console", headers={"Authorization": "Bearer wrong"})).status == 403


async def test_cookie_over_plain_http(store: Any, blobs: Any) -> None:
    runtime = Runtime(Settings(), store, blobs)
    async with TestClient(TestServer(make_app(runtime))) as client:
        answer = await client.get(f"/console/login?token={runtime.logins.issue()}", allow_redirects=False)
        cookie = SimpleCookie(answer.headers["Set-Cookie"])["frontdesk_console"]
        assert (cookie["path"], cookie["secure"]) == ("/console", "")
