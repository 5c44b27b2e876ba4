"""The chat over real sockets: sessions, frames, durability, limits, and what strangers may not do."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType, WSServerHandshakeError

from gateway.web import chat
from tests.web.desk import Desk

Serve = Callable[..., Awaitable[Desk]]


async def open_session(http: ClientSession, desk: Desk, **body: Any) -> dict[str, Any]:
    async with http.post(f"{desk.url}/chat/website/sessions", json=body) as answer:
        assert answer.status == 201, await answer.text()
        return dict(await answer.json())


def socket(
    http: ClientSession, desk: Desk, **headers: str
) -> AbstractAsyncContextManager[ClientWebSocketResponse[bool]]:
    return http.ws_connect(f"{desk.url}/chat/website/ws", headers=headers, compress=0)


async def join(ws: Any, token: str, last_seq: int = 0) -> dict[str, Any]:
    await ws.send_json({"type": "join", "token": token, "last_seq": last_seq})
    return dict(await ws.receive_json(timeout=5))


def said(text: str, client_msg_id: str | None = None, **more: Any) -> dict[str, Any]:
    return {"type": "message.send", "client_msg_id": client_msg_id or str(uuid4()), "text": text, **more}


async def test_a_message_is_acknowledged_with_its_receipt(desk: Desk, http: ClientSession) -> None:
    session = await open_session(http, desk, page={"url": "https://shop.example/cart"}, locale="de-DE")
    async with socket(http, desk) as ws:
        joined = await join(ws, session["session_token"])
        assert (joined["type"], joined["session_id"], joined["history"]) == ("joined", session["session_id"], [])
        page = {"url": "https://shop.example/cart", "title": "Cart"}
        await ws.send_json(said("Where is my order?\r\n", "m-1", page=page, locale="de-DE", agent_id=7))
        ack = await ws.receive_json(timeout=5)
    assert ack == {"type": "message.ack", "client_msg_id": "m-1", "receipt_id": str(desk.intake.receipt_ids[0])}
    (draft,) = desk.intake.drafts
    assert (draft.text, draft.external_id) == ("Where is my order?", "m-1")
    assert (draft.author.identity, draft.author.trust) == (f"chat:{session['visitor_id']}", "unverified")
    assert [key.value for key in draft.thread_keys] == [f"chat:website:{session['session_id']}"]
    assert {name: draft.fields[name] for name in ("page_url", "page_title", "locale")} == {
        "page_url": "https://shop.example/cart",
        "page_title": "Cart",
        "locale": "de-DE",
    }
    assert "agent_id" not in draft.fields
    assert session["session_token"].encode() not in desk.intake.raws[0].body


async def test_nothing_is_acknowledged_before_it_is_durable(desk: Desk, http: ClientSession) -> None:
    session = await open_session(http, desk)
    async with socket(http, desk) as ws:
        await join(ws, session["session_token"])
        desk.intake.gate = asyncio.Event()
        await ws.send_json(said("hello"))
        with pytest.raises(TimeoutError):
            await ws.receive(timeout=0.2)
        assert desk.intake.drafts == []
        desk.intake.gate.set()
        assert (await ws.receive_json(timeout=5))["type"] == "message.ack"


async def test_not_durable_is_a_nack_and_the_resent_message_is_the_same_delivery(
    desk: Desk, http: ClientSession
) -> None:
    session = await open_session(http, desk)
    async with socket(http, desk) as ws:
        await join(ws, session["session_token"])
        desk.refuse()
        await ws.send_json(said("hello", "m-1"))
        nack = await ws.receive_json(timeout=5)
        assert (nack["type"], nack["client_msg_id"], nack["retry_after"]) == ("message.nack", "m-1", 8)
        desk.recover()
        for _ in range(2):
            await ws.send_json(said("hello", "m-1"))
            assert (await ws.receive_json(timeout=5))["type"] == "message.ack"
        await ws.send_json(said("hello", "m-2"))
        await ws.receive_json(timeout=5)
    first, again, other = desk.intake.drafts
    assert first.delivery_key == again.delivery_key != other.delivery_key


async def test_any_gateway_serves_a_reconnect(serve: Serve, http: ClientSession) -> None:
    here, there = await serve(), await serve()
    session = await open_session(http, here)
    async with socket(http, there) as ws:
        assert (await join(ws, session["session_token"]))["session_id"] == session["session_id"]


async def test_history_is_what_was_said_in_this_session_after_the_last_seen(desk: Desk, http: ClientSession) -> None:
    session = await open_session(http, desk)
    moment = datetime(2026, 8, 1, 10, tzinfo=UTC)
    desk.store.rows = [
        {"id": 7, "author_kind": "chat", "external_id": "m-1", "text": "<b>hello</b>", "received_at": moment},
        {"id": 9, "author_kind": "", "external_id": "", "text": "Good day", "received_at": moment},
    ]
    async with socket(http, desk) as ws:
        joined = await join(ws, session["session_token"], last_seq=5)
    assert desk.store.asked == [(f"chat:website:{session['session_id']}", 5)]
    assert joined["seq"] == 9
    assert [(entry["seq"], entry["from"], entry["text"]) for entry in joined["history"]] == [
        (7, "visitor", "<b>hello</b>"),
        (9, "agent", "Good day"),
    ]


async def test_a_chat_goes_on_while_the_store_is_away(desk: Desk, http: ClientSession) -> None:
    desk.store.error = OSError("the database is down")
    session = await open_session(http, desk)
    async with socket(http, desk) as ws:
        assert (await join(ws, session["session_token"]))["history"] == []
        await ws.send_json(said("hello"))
        assert (await ws.receive_json(timeout=5))["type"] == "message.ack"


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ("no json", 1008),
        ("[]", 1008),
        ('"join"', 1008),
        ("[" * 30_000, 1008),
        ('{"type": 5}', 1008),
        ('{"type": "message.send", "client_msg_id": "1", "text": "x"}', 1008),
        ('{"type": "join", "token": "v1.e30.AAAA"}', 1008),
        ('{"type": "join", "token": "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0."}', 1008),
        ('{"type": "join"}', 1008),
        ('{"type": "join", "token": "\\ud800"}', 1008),
        (b"\x00\x01", 1003),
        ("x" * 70_000, 1009),
    ],
)
async def test_junk_before_joining_closes_with_a_reason(
    desk: Desk, http: ClientSession, frame: str | bytes, code: int
) -> None:
    async with socket(http, desk) as ws:
        await (ws.send_str(frame) if isinstance(frame, str) else ws.send_bytes(frame))
        while (message := await ws.receive(timeout=5)).type is WSMsgType.TEXT:
            assert json.loads(message.data)["type"] == "error"
        assert (message.type, message.data) == (WSMsgType.CLOSE, code)
        if code != 1009:
            assert message.extra
    assert desk.intake.drafts == []


async def test_a_token_ends_with_its_time(desk: Desk, http: ClientSession) -> None:
    session = await open_session(http, desk)
    desk.now += 31 * 24 * 3600
    async with socket(http, desk) as ws:
        answer = await join(ws, session["session_token"])
        assert (answer["type"], answer["code"]) == ("error", "session_unknown")


async def test_who_does_not_join_is_closed(desk: Desk, http: ClientSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat, "JOIN_DEADLINE", 0.05)
    async with socket(http, desk) as ws:
        message = await ws.receive(timeout=5)
        assert (message.type, message.data) == (WSMsgType.CLOSE, 1008)


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"text": "x" * 10_001}, "text"),
        ({"text": "   "}, "empty"),
        ({"text": 7}, "text"),
        ({"client_msg_id": "x" * 65}, "client_msg_id"),
        ({"client_msg_id": "<b>"}, "client_msg_id"),
        ({"page": []}, "page"),
    ],
)
async def test_a_malformed_message_is_an_error_and_the_chat_goes_on(
    desk: Desk, http: ClientSession, changes: dict[str, Any], part: str
) -> None:
    session = await open_session(http, desk)
    async with socket(http, desk) as ws:
        await join(ws, session["session_token"])
        await ws.send_json({**said("hello", "m-1"), **changes})
        error = await ws.receive_json(timeout=5)
        assert error["type"] == "error"
        assert part in error["message"]
        await ws.send_json({"type": "ping"})
        assert await ws.receive_json(timeout=5) == {"type": "pong"}
        await ws.send_json({"type": "typing", "on": True})
        await ws.send_json({"type": "shutdown"})
        assert (await ws.receive_json(timeout=5))["code"] == "unknown_type"
        await ws.send_json(said("hello"))
        assert (await ws.receive_json(timeout=5))["type"] == "message.ack"


async def test_a_flood_is_slowed_and_then_closed(desk: Desk, http: ClientSession) -> None:
    session = await open_session(http, desk)
    heard: list[str] = []
    async with socket(http, desk) as ws:
        await join(ws, session["session_token"])
        for number in range(chat.BURST + chat.PATIENCE + 60):  # some more than enough: time passes and lets a few in
            await ws.send_json(said("spam", f"m-{number}"))
        while (message := await ws.receive(timeout=5)).type is WSMsgType.TEXT:
            heard.append(json.loads(message.data)["type"])
        assert (message.type, message.data) == (WSMsgType.CLOSE, 1008)
    assert heard[: chat.BURST] == ["message.ack"] * chat.BURST
    assert heard.count("message.nack") == chat.PATIENCE
    assert len(desk.intake.drafts) == heard.count("message.ack")


async def test_only_our_own_and_listed_pages_connect(serve: Serve, http: ClientSession) -> None:
    desk = await serve(website={"allowed_origins": ["https://shop.example"]})
    for origin in ("https://evil.example", "null", "https://shop.example.evil.example", "http://shop.example"):
        with pytest.raises(WSServerHandshakeError) as refusal:
            await http.ws_connect(f"{desk.url}/chat/website/ws", headers={"Origin": origin})
        assert refusal.value.status == 403
        async with http.post(f"{desk.url}/chat/website/sessions", json={}, headers={"Origin": origin}) as answer:
            assert answer.status == 403
            assert "Access-Control-Allow-Origin" not in answer.headers
    for origin in ("https://shop.example", "https://desk.example", desk.url):
        async with socket(http, desk, Origin=origin) as ws:
            assert not ws.closed
    async with http.post(
        f"{desk.url}/chat/website/sessions", json={}, headers={"Origin": "https://shop.example"}
    ) as answer:
        assert answer.status == 201
        assert answer.headers["Access-Control-Allow-Origin"] == "https://shop.example"
        assert answer.headers["Vary"] == "Origin"
    preflight = {"Origin": "https://shop.example", "Access-Control-Request-Method": "POST"}
    async with http.options(f"{desk.url}/chat/website/messages", headers=preflight) as answer:
        assert (answer.status, answer.headers["Access-Control-Allow-Methods"]) == (204, "POST")


async def test_an_address_may_hold_only_so_many_connections(serve: Serve, http: ClientSession) -> None:
    desk = await serve(settings={"trusted_proxies": "127.0.0.1"}, website={"connections_per_ip": 2})
    one, two = [
        await http.ws_connect(f"{desk.url}/chat/website/ws", headers={"X-Forwarded-For": "203.0.113.5"})
        for _ in range(2)
    ]
    with pytest.raises(WSServerHandshakeError) as refusal:
        await http.ws_connect(f"{desk.url}/chat/website/ws", headers={"X-Forwarded-For": "203.0.113.5"})
    assert refusal.value.status == 429
    async with socket(http, desk, **{"X-Forwarded-For": "203.0.113.6"}):
        pass
    await one.close()
    async with asyncio.timeout(5):
        while True:
            try:
                again = await http.ws_connect(f"{desk.url}/chat/website/ws", headers={"X-Forwarded-For": "203.0.113.5"})
                break
            except WSServerHandshakeError:
                await asyncio.sleep(0.01)
    await again.close()
    await two.close()


async def test_messages_by_rest_are_the_same_deliveries(desk: Desk, http: ClientSession) -> None:
    session = await open_session(http, desk)
    url = f"{desk.url}/chat/website/messages"
    body = {"token": session["session_token"], "client_msg_id": "m-1", "text": "hello"}
    async with http.post(url, json=body) as answer:
        assert answer.status == 201
        assert (await answer.json())["receipt_id"] == str(desk.intake.receipt_ids[0])
    async with socket(http, desk) as ws:
        await join(ws, session["session_token"])
        await ws.send_json(said("hello", "m-1"))
        await ws.receive_json(timeout=5)
    first, again = desk.intake.drafts
    assert first.delivery_key == again.delivery_key
    assert [raw.body for raw in desk.intake.raws] == [b'{"client_msg_id":"m-1","text":"hello"}'] * 2  # no token in it
    for changes, status in [
        ({"token": "v1.x.y"}, 401),
        ({"token": "x" * 9000}, 422),
        ({"client_msg_id": ""}, 422),
        ({"text": ""}, 422),
    ]:
        async with http.post(url, json={**body, **changes}) as answer:
            assert answer.status == status, changes
    async with http.post(url, data=json.dumps(body), headers={"Content-Type": "text/plain"}) as answer:
        assert answer.status == 415
    async with http.post(url, data=b"{", headers={"Content-Type": "application/json"}) as answer:
        assert answer.status == 400
    desk.refuse()
    async with http.post(url, json=body) as answer:
        assert (answer.status, answer.headers["Retry-After"]) == (503, "8")
    assert len(desk.intake.drafts) == 2


async def test_a_stopping_gateway_sends_its_visitors_away_at_once(desk: Desk, http: ClientSession) -> None:
    session = await open_session(http, desk)
    async with socket(http, desk) as ws:
        await join(ws, session["session_token"])
        stopping = asyncio.create_task(desk.stop())
        message = await ws.receive(timeout=5)
        assert (message.type, message.data) == (WSMsgType.CLOSE, 1001)
        await ws.close()
        async with asyncio.timeout(5):
            await stopping


async def test_the_widget_is_small_ours_and_free_of_inline_code(desk: Desk, http: ClientSession) -> None:
    async with http.get(f"{desk.url}/chat/website") as answer:
        text = await answer.text()
        assert "script-src 'self'" in answer.headers["Content-Security-Policy"]
    assert "//desk.example/chat/website/widget.js" in text  # the line to copy
    total = 0
    for name, content_type in [("widget.js", "text/javascript"), ("widget.css", "text/css")]:
        async with http.get(f"{desk.url}/chat/website/{name}", headers={"Accept-Encoding": "gzip"}) as answer:
            assert answer.content_type == content_type
            assert answer.headers["Content-Encoding"] == "gzip"
            assert answer.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
            content = await answer.text()
            etag = answer.headers["ETag"]
        total += len(gzip.compress(content.encode()))
        addresses = content.replace("http://www.w3.org/2000/svg", "").replace("https://desk.example/", "")
        assert "http://" not in addresses
        assert "https://" not in addresses
        assert "innerHTML" not in content
        async with http.get(f"{desk.url}/chat/website/{name}", headers={"If-None-Match": etag}) as answer:
            assert answer.status == 304
    assert total < 10_000


async def test_chat_addresses_of_other_inboxes_are_not_there(desk: Desk, http: ClientSession) -> None:
    for path in ("/chat/contact", "/chat/none/widget.js", "/chat/none/ws"):
        async with http.get(desk.url + path) as answer:
            assert answer.status == 404
    async with http.get(f"{desk.url}/chat/website/ws") as answer:
        assert answer.status == 426
