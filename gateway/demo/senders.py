"""Light clients, one for each way in. They play the other side of the wire: mail programs, browsers, Twilio, X.

Each sends one delivery or a short sequence and returns the receipts it was told. A temporary refusal (SMTP 4xx, HTTP
429 and 503, a chat's nack) is honoured as good clients do: wait, and send the same again.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import re
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import aiohttp
import aiosmtplib
from twilio.request_validator import RequestValidator

from gateway.demo.shapes import Call, FormPost, Mail, Talk
from gateway.demo.target import Target

_TRIES = 5
_PAUSE = 1.0  # seconds, where the server names no time
_FORM_PAUSE = 3.2  # seconds; a form sent sooner after it was opened was not filled in by a person
_RECEIPT = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_TOKEN = re.compile(r'name="form_token"[^>]*value="([^"]+)"|value="([^"]+)"[^>]*name="form_token"')
_REPEATABLE = frozenset({429, 500, 502, 503, 504})


class UnsentError(Exception):
    """A delivery was refused for good, or too often."""


class MailSender:
    """One SMTP connection, opened when it is needed."""

    def __init__(self, target: Target) -> None:
        self._client = aiosmtplib.SMTP(
            hostname=target.smtp_host, port=target.smtp_port, use_tls=False, start_tls=False, timeout=60
        )

    async def send(self, mail: Mail) -> list[str]:
        """One transaction; the receipts in its 250."""
        for _ in range(_TRIES):
            try:
                if not self._client.is_connected:
                    await self._client.connect()
                refused, answer = await self._client.sendmail(mail.sender, list(mail.recipients), mail.content)
            except aiosmtplib.SMTPResponseException as error:
                if error.code >= 500:
                    raise UnsentError(f"SMTP {error.code} {error.message}") from error
            except (aiosmtplib.SMTPException, OSError) as error:
                last = str(error)
                self._client.close()
                if "refused" in last.lower() and "Recipients" in type(error).__name__:
                    raise UnsentError(last) from error
            else:
                if refused:
                    raise UnsentError(f"recipients refused: {', '.join(refused)}")
                return _RECEIPT.findall(answer)
            await asyncio.sleep(_PAUSE)
        raise UnsentError("the mail server refuses temporarily, again and again")

    async def close(self) -> None:
        """Say goodbye."""
        if self._client.is_connected:
            await self._client.quit()


class WebSender:
    """Everything that arrives by HTTP."""

    def __init__(self, target: Target, session: aiohttp.ClientSession) -> None:
        self._target = target
        self._session = session
        self._twilio = RequestValidator(target.twilio_token)

    # Forms -----------------------------------------------------------------------------------------------------

    async def submit(self, form: FormPost) -> list[str]:
        """Post a form, `clicks` times at once; a receipt each."""
        fields = dict(form.fields)
        if form.hosted:
            fields |= await self._open_form()
            await asyncio.sleep(_FORM_PAUSE)
        return [
            one
            for got in await asyncio.gather(*(self._post_form(form, fields) for _ in range(form.clicks)))
            for one in got
        ]

    async def _open_form(self) -> dict[str, str]:
        url = f"{self._target.http}/form/{self._target.form_inbox}"
        async with self._session.get(url, headers={"Accept": "text/html"}) as answer:
            match = _TOKEN.search(await answer.text())
        return {"form_token": match[1] or match[2]} if match else {}

    async def _post_form(self, form: FormPost, fields: Mapping[str, str]) -> list[str]:
        url = f"{self._target.http}/form/{self._target.form_inbox}"
        if form.as_json:
            headers = {"Accept": "application/json"} | ({"Idempotency-Key": form.key} if form.key else {})
            answer = await self._request(url, headers, lambda: {"json": fields})
            return [str(json.loads(answer.body)["receipt_id"])]
        answer = await self._request(url, {"Accept": "text/html"}, lambda: {"data": _encoded(form, fields)})
        return parse_qs(urlsplit(answer.location).query)["ref"]

    # Chat ------------------------------------------------------------------------------------------------------

    async def talk(self, talk: Talk) -> list[str]:
        """Open a session, say the lines and wait for each acknowledgement; a repeated line on a new connection."""
        base = f"{self._target.http}/chat/{self._target.chat_inbox}"
        answer = await self._request(f"{base}/sessions", {}, lambda: {"json": talk.session})
        token = json.loads(answer.body)["session_token"]
        receipts: list[str] = []
        said: set[str] = set()
        lines = list(talk.lines)
        while lines:
            async with self._session.ws_connect(f"{base}/ws") as socket:
                await socket.send_json({"type": "join", "token": token, "last_seq": 0})
                await _frame(socket, "joined")
                again = False
                while lines and not again:
                    client_id, text = lines.pop(0)
                    receipts.append(await self._say(socket, client_id, text))
                    said.add(client_id)
                    again = bool(lines) and lines[0][0] in said
        return receipts

    async def _say(self, socket: aiohttp.ClientWebSocketResponse, client_id: str, text: str) -> str:
        for _ in range(_TRIES):
            await socket.send_json({"type": "message.send", "client_msg_id": client_id, "text": text})
            frame = await _frame(socket, "message.ack", "message.nack")
            if frame["type"] == "message.ack":
                return str(frame.get("receipt_id", ""))
            await asyncio.sleep(float(frame.get("retry_after", _PAUSE)))
        raise UnsentError("the chat refuses temporarily, again and again")

    # Providers -------------------------------------------------------------------------------------------------

    async def call(self, call: Call) -> list[str]:
        """Twilio's requests about one call, each signed over the public address. They are told no receipts."""
        for tail, parameters in call.requests:
            path = f"/hooks/{self._target.phone_inbox}/{tail}"
            signature = self._twilio.compute_signature(self._target.public_url + path, parameters)
            headers = {
                "X-Twilio-Signature": str(signature),
                "Content-Type": "application/x-www-form-urlencoded; charset=UTF-8",
                "User-Agent": "TwilioProxy/1.1",
            }
            body = urlencode(parameters).encode()
            await self._request(self._target.http + path, headers, lambda body=body: {"data": body})
        return [""] * len(call.requests)

    async def post(self, event: Mapping[str, Any]) -> list[str]:
        """One activity of X, signed with the app's secret. It is told no receipt."""
        body = json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()
        mac = hmac.new(self._target.x_secret.encode(), body, hashlib.sha256).digest()
        headers = {
            "x-twitter-webhooks-signature": f"sha256={base64.b64encode(mac).decode()}",
            "Content-Type": "application/json",
        }
        await self._request(f"{self._target.http}/hooks/{self._target.twitter_inbox}", headers, lambda: {"data": body})
        return [""]

    async def _request(self, url: str, headers: Mapping[str, str], body: Any) -> _Answer:
        """POST until it is taken. `body` makes the request's arguments anew each time: forms can be sent only once."""
        for _ in range(_TRIES):
            async with self._session.post(url, headers=headers, allow_redirects=False, **body()) as answer:
                content = await answer.read()
                if answer.status < 400:
                    return _Answer(content, answer.headers.get("Location", ""))
                if answer.status not in _REPEATABLE:
                    raise UnsentError(f"HTTP {answer.status} from {urlsplit(url).path}: {_sentence(content)}")
                pause = answer.headers.get("Retry-After", "")
            await asyncio.sleep(float(pause) if pause.isdecimal() else _PAUSE)
        raise UnsentError(f"{urlsplit(url).path} refuses temporarily, again and again")


class _Answer:
    def __init__(self, body: bytes, location: str) -> None:
        self.body = body
        self.location = location


def _encoded(form: FormPost, fields: Mapping[str, str]) -> aiohttp.FormData:
    data = aiohttp.FormData()
    for name, value in fields.items():
        data.add_field(name, value)
    for name, media_type, content in form.files:
        data.add_field("attachments", content, filename=name, content_type=media_type)
    return data


async def _frame(socket: aiohttp.ClientWebSocketResponse, *kinds: str) -> dict[str, Any]:
    """The next frame of one of these kinds, for at most 30 seconds."""
    deadline = time.monotonic() + 30
    while True:
        try:
            frame = await socket.receive_json(timeout=max(0.01, deadline - time.monotonic()))
        except (TypeError, ValueError, TimeoutError) as error:  # closed, or no JSON, or silent
            raise UnsentError(f"the chat connection ended while waiting for {' or '.join(kinds)}") from error
        if frame.get("type") == "error":
            raise UnsentError(f"chat: {frame.get('message', frame)}")
        if frame.get("type") in kinds:
            return dict(frame)


def _sentence(content: bytes) -> str:
    return " ".join(content[:300].decode("utf-8", "replace").split())
