"""The chat: sessions and messages over REST, the WebSocket, the widget's files and a page that shows it.

Frames from the visitor: `join`, `message.send`, `typing`, `ping`. Frames to the visitor: `joined` (with what was said
so far), `message.ack` once a message is durable, `message.nack` with `retry_after` when it is not, `pong`, `error`.

    1001 we are going away, connect again    1003 text frames only        1008 against the rules, see the reason
    1009 frame over 64 KiB                   1013 nothing can be stored, try later
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, cast

from aiohttp import WSCloseCode, WSMsgType, web
from pydantic import Field

from adapters.base import Raw, Refused
from adapters.chat import MAX_FRAME, Chat, ChatMessage, Session, Strict, message_body, parse
from gateway.intake import Inbox, NotDurableError
from gateway.store.engine import why
from gateway.store.tickets import chat_history
from gateway.web.errors import is_json, prefix
from gateway.web.inbound import accept, find_inbox, now
from gateway.web.keys import RUNTIME
from gateway.web.limits import Gcra, limits_of, read_body
from gateway.web.origins import check_origin, preflight
from gateway.web.pages import page, static
from gateway.web.texts import pick_language, texts

if TYPE_CHECKING:
    from collections.abc import Mapping

log: Final = logging.getLogger(__name__)

SOCKETS: Final[web.AppKey[set[web.WebSocketResponse]]] = web.AppKey("sockets")
JOIN_DEADLINE: Final = 10.0  # seconds between connecting and joining
HEARTBEAT: Final = 25.0  # seconds; proxies cut silent connections after 30 to 60
BURST: Final = 20  # messages at once
PATIENCE: Final = 100  # frames over the rate before the connection is closed


class Join(Strict):
    """First frame of a connection."""

    token: str = Field(max_length=8192)
    last_seq: int = Field(default=0, ge=0, le=2**53)


class Posted(ChatMessage):
    """A message by REST: the same, with the token beside it."""

    token: str = Field(max_length=8192)


class ProtocolError(Exception):
    """Against the rules: the connection is closed with 1008 and this reason."""


async def show(request: web.Request) -> web.Response:
    """GET /chat/<inbox>: a page with the widget, and the line that puts it on another page."""
    inbox, adapter = _chat(request)
    language = pick_language(request.query.get("lang", ""), request.headers.get("Accept-Language", ""))
    base = request.app[RUNTIME].settings.base_url
    values = {
        "t": texts(language),
        "language": language,
        "title": adapter.options.title or texts(language)["chat_title"],
        "css_url": f"{prefix(request)}/assets/page.css",
        "script_url": f"{prefix(request)}/chat/{inbox.name}/widget.js",
        "embed": f'<script src="{base}/chat/{inbox.name}/widget.js" defer></script>',
    }
    return page("chat.html", values)


async def script(request: web.Request) -> web.Response:
    """GET /chat/<inbox>/widget.js, from any page: it finds its inbox in its own address."""
    _chat(request)
    return static(request, "widget.js", elsewhere=True)


async def style(request: web.Request) -> web.Response:
    """GET /chat/<inbox>/widget.css."""
    _chat(request)
    return static(request, "widget.css", elsewhere=True)


async def allow(request: web.Request) -> web.Response:
    """OPTIONS of the REST routes."""
    return preflight(request, _chat(request)[1].options.allowed_origins)


async def open_session(request: web.Request) -> web.Response:
    """POST /chat/<inbox>/sessions -> 201 with the session token."""
    inbox, adapter = _chat(request)
    cors = _check_json(request, adapter)
    try:
        limit = adapter.options.sessions_per_minute
        limits_of(request).check_rate(request, f"chat:{inbox.name}", limit, limit)
        session = adapter.open_session(await read_body(request, MAX_FRAME), now(request))
    except Refused as refusal:
        refusal.headers.update(cors)
        raise
    answer = {
        "session_token": adapter.sign(session),
        "session_id": session.session_id,
        "visitor_id": session.visitor_id,
        "verified": session.trust == "verified",
        "title": adapter.options.title,
    }
    return web.json_response(answer, status=201, headers={**cors, "Cache-Control": "no-store"})


async def post_message(request: web.Request) -> web.Response:
    """POST /chat/<inbox>/messages {token, client_msg_id, text} -> 201: for where WebSockets do not get through."""
    inbox, adapter = _chat(request)
    cors = _check_json(request, adapter)
    try:
        limit = adapter.options.messages_per_minute
        limits_of(request).check_rate(request, f"chat:{inbox.name}:messages", limit * 4, BURST * 4)
        posted = parse(Posted, await read_body(request, MAX_FRAME))
        receipt_id = await _store(request, inbox, posted.token, posted)
    except Refused as refusal:
        refusal.headers.update(cors)
        raise
    answer = {"client_msg_id": posted.client_msg_id, "receipt_id": receipt_id, "status": "accepted"}
    return web.json_response(answer, status=201, headers=cors)


async def connect(request: web.Request) -> web.StreamResponse:
    """GET /chat/<inbox>/ws: one visitor's socket, until either side closes it."""
    inbox, adapter = _chat(request)
    check_origin(request, adapter.options.allowed_origins)
    limits = limits_of(request)
    with limits.connection(request, f"chat:{inbox.name}", adapter.options.connections_per_ip):
        # Compression off: a compressed frame is how a few kB become many MB.
        socket = web.WebSocketResponse(max_msg_size=MAX_FRAME, compress=False, heartbeat=HEARTBEAT)
        if not socket.can_prepare(request).ok:
            raise Refused(426, "Connect here by WebSocket.", headers={"Upgrade": "websocket"})
        await socket.prepare(request)
        sockets = request.app[SOCKETS]
        sockets.add(socket)
        try:
            await Conversation(request, inbox, adapter, socket).run()
        finally:
            sockets.discard(socket)
    return socket


async def close_all(app: web.Application) -> None:
    """Signal `on_shutdown`: every visitor is told to connect again, to whoever serves next."""
    sockets: set[web.WebSocketResponse] = app[SOCKETS]
    await asyncio.gather(
        *(socket.close(code=WSCloseCode.GOING_AWAY, message=b"restarting, connect again") for socket in list(sockets)),
        return_exceptions=True,
    )


class Conversation:
    """One connection: join first, then frames in order. A message is answered before the next is read."""

    def __init__(self, request: web.Request, inbox: Inbox, adapter: Chat, socket: web.WebSocketResponse) -> None:
        self._request = request
        self._inbox = inbox
        self._adapter = adapter
        self._socket = socket
        self._token = ""
        self._rate = Gcra(adapter.options.messages_per_minute, BURST)
        self._excess = 0

    async def run(self) -> None:
        """Serve until the end. Raises nothing of the visitor's making."""
        try:
            async with asyncio.timeout(JOIN_DEADLINE):
                joined = await self._receive()
            if joined is None:
                return
            await self._join(joined)
            while (frame := await self._receive()) is not None:
                await self._handle(frame)
        except TimeoutError:
            await self._close(WSCloseCode.POLICY_VIOLATION, f"join within {JOIN_DEADLINE:.0f} seconds")
        except ProtocolError as error:
            await self._close(WSCloseCode.POLICY_VIOLATION, str(error))
        except ConnectionError:  # gone while we were answering
            pass

    async def _receive(self) -> dict[str, Any] | None:
        """The next frame; None when the connection has ended."""
        message = await self._socket.receive()
        if message.type is WSMsgType.BINARY:
            await self._close(WSCloseCode.UNSUPPORTED_DATA, "text frames only")
            return None
        if message.type is not WSMsgType.TEXT:
            return None
        try:
            frame = json.loads(message.data)
        except (ValueError, RecursionError):
            raise ProtocolError("frames are JSON") from None
        if not isinstance(frame, dict) or not isinstance(frame.get("type"), str):
            raise ProtocolError("frames are JSON objects with a type")
        frame["raw"] = message.data
        return frame

    async def _join(self, frame: dict[str, Any]) -> None:
        if frame["type"] != "join":
            raise ProtocolError("join first")
        try:
            join = parse(Join, _encode(frame["raw"]))
            session = self._adapter.read_token(join.token, now(self._request))
        except Refused as refusal:
            code = "session_unknown" if refusal.status == 401 else "malformed"
            await self._send({"type": "error", "code": code, "message": str(refusal)})
            raise ProtocolError(code) from None
        self._token = join.token
        history = await read_history(self._request, session, join.last_seq)
        seq = history[-1]["seq"] if history else join.last_seq
        await self._send({"type": "joined", "session_id": session.session_id, "seq": seq, "history": history})

    async def _handle(self, frame: dict[str, Any]) -> None:
        kind = frame["type"]
        wait = self._rate.wait("")
        if wait:
            self._excess += 1
            if self._excess > PATIENCE:
                raise ProtocolError("too many frames")
        if kind == "message.send":
            await self._take(frame, wait)
        elif kind == "ping" and not wait:
            await self._send({"type": "pong"})
        elif kind == "typing" or wait:
            pass  # shown to agents once there is a live console; it is no message
        else:
            await self._send({"type": "error", "code": "unknown_type", "message": "There is no such frame."})

    async def _take(self, frame: dict[str, Any], wait: float) -> None:
        """One message: stored and acknowledged, or refused for now (nack) or for good (error)."""
        named = frame.get("client_msg_id")
        client_msg_id = named[:64] if isinstance(named, str) else None
        if wait:
            await self._nack(client_msg_id, wait, "too many messages")
            return
        try:
            said = parse(ChatMessage, _encode(frame["raw"]))
            receipt_id = await _store(self._request, self._inbox, self._token, said)
        except NotDurableError as error:
            await self._nack(client_msg_id, error.retry_after, "nothing can be stored right now")
        except Refused as refusal:
            sentence = {"type": "error", "code": "refused", "message": str(refusal), "client_msg_id": client_msg_id}
            await self._send(sentence)
            if refusal.status == 401:
                raise ProtocolError("session_unknown") from None
        else:
            await self._send({"type": "message.ack", "client_msg_id": said.client_msg_id, "receipt_id": receipt_id})

    async def _nack(self, client_msg_id: str | None, seconds: float, reason: str) -> None:
        wait = max(1, math.ceil(seconds))
        await self._send(
            {"type": "message.nack", "client_msg_id": client_msg_id, "retry_after": wait, "reason": reason}
        )

    async def _send(self, frame: Mapping[str, Any]) -> None:
        await self._socket.send_str(json.dumps(frame))

    async def _close(self, code: int, reason: str) -> None:
        with suppress(ConnectionError):
            await self._socket.close(code=code, message=reason.encode()[:120])


async def read_history(request: web.Request, session: Session, after: int) -> list[dict[str, Any]]:
    """What was said in this session after `after`, oldest first. While the store is away: nothing, the chat goes on."""
    store = request.app[RUNTIME].store
    try:
        async with asyncio.timeout(3):
            rows = await store.read(chat_history, session.key, after)
    except Exception as error:  # whatever the store's driver calls it: an open chat is worth more than its history
        log.warning("chat: no history, the database does not answer: %s", why(error))
        return []
    return [
        {
            "seq": row["id"],
            "from": "visitor" if row["author_kind"] == "chat" else "agent",
            "client_msg_id": row["external_id"],
            "text": row["text"],
            "at": row["received_at"].isoformat(),
        }
        for row in rows
    ]


async def _store(request: web.Request, inbox: Inbox, token: str, said: ChatMessage) -> str:
    """Through the door in; the receipt id. The token is a fact of the transport and not of the stored message."""
    raw = Raw(message_body(said), "application/json", {"token": token, "received_at": now(request)})
    receipts = await accept(request.app[RUNTIME], inbox, raw)
    return str(receipts[0].receipt_id)


def _chat(request: web.Request) -> tuple[Inbox, Chat]:
    inbox = find_inbox(request.app[RUNTIME], request.match_info["inbox"], "chat")
    return inbox, cast(Chat, inbox.adapter)


def _check_json(request: web.Request, adapter: Chat) -> dict[str, str]:
    """CORS headers; JSON by name only, since a stranger's page may send text/plain anywhere without asking."""
    cors = check_origin(request, adapter.options.allowed_origins)
    if not is_json(request):
        raise Refused(415, "Send application/json.", headers=cors)
    return cors


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
