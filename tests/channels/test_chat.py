"""The chat's adapter: who a visitor is proven to be, what a token holds, and what one message becomes."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from adapters.base import Raw, Refused
from adapters.chat import JWT_MAX_AHEAD, SESSION_LIFETIME, Chat, ChatOptions, Session
from normalizer.message import MessageDraft
from tests.channels.harness import ChannelTable, Row, receive

SESSION_KEY = "a-session-key-nobody-may-see-at-all"
SECRET = "an-identity-secret-nobody-may-see-0"
NOW = 1_785_578_400
VECTORS = Path(__file__).parents[2] / "../shared/vectors"
FRAME = {"type": "message.send", "client_msg_id": "9b1deb4d-3b7d-4bad-9bdd-2b0d7b3dcb6d", "text": "Where is my order?"}


def chat(inbox: str = "website", **options: Any) -> Chat:
    keys = {"session_key": SecretStr(SESSION_KEY), "identity_secret": SecretStr(SECRET)}
    return Chat(inbox, ChatOptions(**(keys | options)))


def opened(adapter: Chat | None = None, **body: Any) -> Session:
    return (adapter or chat()).open_session(json.dumps(body).encode(), NOW)


def hashed(ident: str, secret: str = SECRET) -> str:
    return hmac.new(secret.encode(), ident.encode(), hashlib.sha256).hexdigest()


def signed(claims: dict[str, Any], secret: str = SECRET, algorithm: str = "HS256") -> str:
    return jwt.encode(claims, secret, algorithm=algorithm)


def arrival(session: Session, now: float = NOW, **changes: Any) -> Raw:
    body = json.dumps(FRAME | changes).encode()
    return Raw(body, "application/json", {"token": chat(session.inbox).sign(session), "received_at": now})


STRANGER = Session(i="website", s="5e55", v="f00d", x=NOW + 60)
KNOWN = Session(i="website", s="5e55", v="f00d", u="user-42", e="erika@example.com", n="Erika", t="verified",
                w="id and address signed by the site (JWT HS256)", x=NOW + 60)  # fmt: skip


class TestChat(ChannelTable):
    secrets = (SESSION_KEY, SECRET)
    rows = (
        Row(
            "a stranger",
            arrival(STRANGER, page={"url": "https://shop.example/cart", "title": "Cart"}, locale="de-DE"),
            drafts=[
                {
                    "author.identity": "chat:f00d",
                    "author.trust": "unverified",
                    "text": "Where is my order?",
                    "external_id": FRAME["client_msg_id"],
                    "thread_keys.0.kind": "conversation",
                    "thread_keys.0.value": "chat:website:5e55",
                    "thread_keys.0.strength": "strong",
                    "fields": {
                        "session_id": "5e55",
                        "visitor_id": "f00d",
                        "page_url": "https://shop.example/cart",
                        "page_title": "Cart",
                        "locale": "de-DE",
                    },
                    "content_key": bool,
                    "recipients": (),
                    "suspend": "",
                }
            ],
        ),
        Row(
            "somebody the site signed for",
            arrival(KNOWN),
            drafts=[
                {
                    "author.identity": "chat:website:user-42",
                    "author.display_name": "Erika",
                    "author.trust": "verified",
                    "author.evidence": "id and address signed by the site (JWT HS256)",
                    "fields.email": "erika@example.com",
                    "fields.email_trust": "verified",
                }
            ],
        ),
        Row(
            "markup and controls are text",
            arrival(STRANGER, text="<script>alert(1)</script>\u0000\r\nnext"),
            drafts=[{"text": "<script>alert(1)</script>\nnext"}],
        ),
        Row(
            "unknown fields mean nothing",
            arrival(STRANGER, agent_id=7, trust="verified"),
            drafts=[{"author.trust": "unverified"}],
        ),
        Row("a session that has ended", arrival(STRANGER, now=NOW + 61), refused=401),
        Row("no token", replace(arrival(STRANGER), facts={"received_at": NOW}), refused=401),
        Row("nothing said", arrival(STRANGER, text=" \n "), refused=422),
        Row("too much said", arrival(STRANGER, text="x" * 10_001), refused=422),
        Row("an id that is none", arrival(STRANGER, client_msg_id="a b"), refused=422),
    )  # fmt: skip

    def adapter(self) -> Chat:
        return chat()

    # No provider signs these; the session token in the facts is tried below.
    test_forged_is_refused = None  # type: ignore[assignment]
    test_without_its_secrets_the_inbox_refuses_and_says_what_to_set = None  # type: ignore[assignment]


@pytest.mark.parametrize(
    "forge",
    [
        lambda token: "",
        lambda token: token[:-2],
        lambda token: token + "A",
        lambda token: token.replace("v1.", "v2."),
        lambda token: token.rpartition(".")[0] + ".",
        lambda token: "eyJhbGciOiJub25lIn0.eyJpIjoid2Vic2l0ZSJ9.",
        lambda token: token[:10] + ("A" if token[10] != "A" else "B") + token[11:],
        lambda token: "é\ud800",
    ],
)
def test_a_forged_token_opens_nothing(forge: Any) -> None:
    token = forge(chat().sign(STRANGER))
    with pytest.raises(Refused) as refusal:
        chat().read_token(token, NOW)
    assert refusal.value.status == 401


def test_a_token_that_was_good_ends_with_its_time() -> None:
    desk = chat()
    token = desk.sign(STRANGER)
    assert desk.read_token(token, STRANGER.expires) == STRANGER
    with pytest.raises(Refused, match="has ended"):
        desk.read_token(token, STRANGER.expires + 1)


def test_a_token_is_read_by_every_gateway_of_its_inbox_and_by_no_other() -> None:
    token = chat().sign(KNOWN)
    assert chat().read_token(token, NOW) == KNOWN
    with pytest.raises(Refused):
        chat("other").read_token(token, NOW)
    with pytest.raises(Refused):
        chat(session_key=SecretStr("another-key-another-key-another-key")).read_token(token, NOW)
    keyless = chat(session_key=None)
    assert keyless.read_token(keyless.sign(STRANGER), NOW) == STRANGER
    with pytest.raises(Refused):
        chat(session_key=None).read_token(keyless.sign(STRANGER), NOW)


def test_sessions_are_new_and_end() -> None:
    one, two = opened(), opened()
    assert one.session_id != two.session_id
    assert one.visitor_id != two.visitor_id
    assert one.expires == NOW + SESSION_LIFETIME
    assert (one.trust, one.identity) == ("unverified", "")


def test_the_same_id_signed_for_is_one_person_in_every_session() -> None:
    identity = {"id": "user-42", "email": "Erika@Example.com", "name": "Erika", "hash": hashed("user-42").upper()}
    authors = set()
    for _ in range(2):
        session = opened(identity=identity)
        assert (session.trust, session.email) == ("verified", "erika@example.com")
        [draft] = receive(chat(), arrival(session))
        assert isinstance(draft, MessageDraft)
        authors.add(draft.author.identity)
        assert draft.fields["email_trust"] == "unverified"  # the hash covers the id alone
    assert authors == {"chat:website:user-42"}


def test_what_a_visitor_claims_is_kept_and_not_believed() -> None:
    session = opened(identity={"id": "user-42", "email": "boss@example.com", "name": "Boss"})
    assert (session.trust, session.identity) == ("unverified", "")
    [draft] = receive(chat(), arrival(session))
    assert isinstance(draft, MessageDraft)
    assert draft.author.identity == f"chat:{session.visitor_id}"
    assert (draft.fields["email"], draft.fields["email_trust"]) == ("boss@example.com", "unverified")


@pytest.mark.parametrize(
    "identity",
    [
        {"id": "user-43", "hash": hashed("user-42")},
        {"id": "user-42", "hash": hashed("user-42", "guess")},
        {"id": "", "hash": hashed("")},
        {"id": "user-42", "hash": "é" * 64},
        {"id": "user-42", "hash": "0"},
    ],
)
def test_a_hash_that_proves_nothing_is_refused(identity: dict[str, str]) -> None:
    with pytest.raises(Refused) as refusal:
        opened(identity=identity)
    assert refusal.value.status == 403


def test_without_a_secret_nobody_can_be_signed_for() -> None:
    bare = chat(identity_secret=None)
    assert opened(bare).trust == "unverified"
    for body in ({"identity": {"id": "u", "hash": hashed("u", "")}}, {"jwt": signed({"sub": "u", "exp": NOW + 60})}):
        with pytest.raises(Refused) as refusal:
            opened(bare, **body)
        assert (refusal.value.status, "identity_secret" in str(refusal.value)) == (403, True)


CLAIMS = {"sub": "user-42", "email": "erika@example.com", "name": "Erika", "exp": NOW + 300}


@pytest.mark.parametrize(
    ("options", "widget", "audience"),
    [
        ({}, "", None),
        ({}, "", "website"),
        ({}, "wdg_acme", "wdg_acme"),
        ({}, "", ["other", "website"]),
        ({"widget": "wdg_acme"}, "", "wdg_acme"),
        ({"widget": "wdg_acme"}, "anything", "website"),
    ],
)
def test_a_good_jwt_proves_id_and_address(options: dict[str, str], widget: str, audience: Any) -> None:
    claims = CLAIMS | ({"aud": audience} if audience else {})
    session = opened(chat(**options), jwt=signed(claims), widget=widget)
    assert (session.identity, session.trust, session.email) == ("user-42", "verified", "erika@example.com")


@pytest.mark.parametrize(
    "token",
    [
        signed(CLAIMS | {"exp": NOW - 61}),
        signed(CLAIMS | {"exp": NOW + JWT_MAX_AHEAD + 1}),
        signed(CLAIMS | {"exp": "soon"}),
        signed({key: value for key, value in CLAIMS.items() if key != "exp"}),
        signed(CLAIMS | {"nbf": NOW + 3600}),
        signed(CLAIMS | {"aud": "another-widget"}),
        signed(CLAIMS | {"aud": ["a", "b"]}),
        signed(CLAIMS, "guess-guess-guess-guess-guess-guess"),
        signed(CLAIMS | {"sub": ""}),
        signed({key: value for key, value in CLAIMS.items() if key != "sub"}),
        jwt.encode(CLAIMS, SECRET + SECRET, algorithm="HS512"),
        jwt.encode(CLAIMS, None, algorithm="none"),
        signed(CLAIMS)[:-3],
        "a.b.c",
        "...",
        "é.é.é",
    ],
)
def test_a_jwt_that_proves_nothing_is_refused(token: str) -> None:
    with pytest.raises(Refused) as refusal:
        opened(jwt=token, widget="website")
    assert refusal.value.status == 403


def test_a_configured_widget_name_is_not_the_pages_to_choose() -> None:
    with pytest.raises(Refused):
        opened(chat(widget="wdg_acme"), jwt=signed(CLAIMS | {"aud": "other"}), widget="other")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 422),
        (b"null", 422),
        (b'{"identity": "user"}', 422),
        (b'{"page": {"url": 5}}', 422),
        (b'{"locale": "' + b"x" * 301 + b'"}', 422),
        (b'{"identity": {"name": "\\ud800"}}', 400),
        (b"[" * 60_000, 400),
        (b"\xff\xfe", 400),
    ],
)
def test_a_malformed_session_request_says_what_is_wrong(body: bytes, status: int) -> None:
    with pytest.raises(Refused) as refusal:
        chat().open_session(body, NOW)
    assert refusal.value.status == status
    assert len(str(refusal.value)) > 10


IDENTITIES = st.text(max_size=100).map(lambda text: json.dumps({"identity": {"id": text, "hash": text}}).encode())


@given(st.binary(max_size=300) | IDENTITIES)
def test_any_session_request_is_a_session_or_a_refusal(body: bytes) -> None:
    try:
        session = chat().open_session(body, NOW)
    except Refused as refusal:
        assert refusal.status in (400, 403, 422)
    else:
        assert session.trust == "unverified"
        assert chat().read_token(chat().sign(session), NOW) == session


def test_delivery_keys_are_the_sessions_own() -> None:
    def key(session: Session, **changes: Any) -> str:
        return receive(chat(), arrival(session, **changes))[0].delivery_key

    other = STRANGER.model_copy(update={"session_id": "0ther"})
    assert key(STRANGER) == key(STRANGER, text="other words under the same id")
    assert len({key(STRANGER), key(other), key(STRANGER, client_msg_id="m-2")}) == 3


def test_no_token_and_no_secret_in_any_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        for body in ({"jwt": signed(CLAIMS)}, {"identity": {"id": "u", "hash": "wrong"}}):
            try:
                token = chat().sign(opened(**body))
            except Refused as refusal:
                assert "wrong" not in str(refusal)
            else:
                assert token not in caplog.text
    assert SECRET not in caplog.text


@pytest.mark.skipif(not (VECTORS / "manifest.json").exists(), reason="../shared/vectors is not here")
@pytest.mark.parametrize(
    ("sample", "status"),
    [("chat_session_start.json", 201), ("chat_session_bad_hash.json", 403), ("chat_session_jwt.json", 201)],
)
def test_the_signed_samples(sample: str, status: int) -> None:
    manifest = json.loads((VECTORS / "manifest.json").read_text())
    adapter = chat(identity_secret=SecretStr(manifest["secrets"]["chat_identity_secret"]))
    body = (VECTORS / sample).read_bytes()
    if status == 403:
        with pytest.raises(Refused) as refusal:
            adapter.open_session(body, manifest["frozen_clock"])
        assert refusal.value.status == 403
        return
    session = adapter.open_session(body, manifest["frozen_clock"])
    assert (session.identity, session.trust, session.email) == ("user-42", "verified", "erika@example.com")


@pytest.mark.skipif(not (VECTORS / "manifest.json").exists(), reason="../shared/vectors is not here")
def test_the_sample_frames_are_one_delivery() -> None:
    frames = [json.loads(line) for line in (VECTORS / "chat_ws_frames.ndjson").read_text().splitlines()]
    sent = [frame for frame in frames if frame["type"] == "message.send"]
    keys = {receive(chat(), arrival(STRANGER, **frame))[0].delivery_key for frame in sent}
    assert (len(sent), len(keys)) == (2, 1)
