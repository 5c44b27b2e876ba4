"""How each front door is knocked at, as bytes made beforehand: during the measurement nothing is encoded or signed."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlencode

from gateway.bench.client import BenchError
from gateway.bench.content import Item

_FORM_TYPE = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class Doors:
    """A running desk. `http` and `smtp`: host and port to connect to; `public_url`: what providers sign for."""

    http: tuple[str, int]
    smtp: tuple[str, int]
    public_url: str
    inboxes: Mapping[str, str]  # channel -> name
    mailbox: str = "support@localhost"
    twilio_token: str = field(default="", repr=False)
    x_secret: str = field(default="", repr=False)
    beside: tuple[tuple[tuple[str, int], tuple[str, int]], ...] = ()  # HTTP and SMTP of further gateways of this desk

    def mail(self, sender: str, content: bytes, recipients: Sequence[str] = ()) -> Item:
        """One SMTP transaction."""
        return Item(uuid.uuid4().hex, sender, content, "email", tuple(recipients) or (self.mailbox,))

    def form(self, body: bytes, content_type: str = "application/json", key: str = "") -> Item:
        """POST /form/<inbox>."""
        headers = {"Accept": "application/json"} | ({"Idempotency-Key": key} if key else {})
        return self._post("form", f"/form/{self._inbox('form')}", body, content_type, headers)

    def chat(self, token: str, line: str, text: str) -> Item:
        """POST /chat/<inbox>/messages."""
        body = json.dumps({"token": token, "client_msg_id": line, "text": text}).encode()
        return self._post("chat", f"/chat/{self._inbox('chat')}/messages", body, "application/json", {})

    def visitor(self) -> Item:
        """POST /chat/<inbox>/sessions."""
        return self._post("chat", f"/chat/{self._inbox('chat')}/sessions", b"{}", "application/json", {})

    def call(self, tail: str, parameters: Mapping[str, str]) -> Item:
        """One request of Twilio's, signed as in twilio.com/docs/usage/webhooks/webhooks-security."""
        path = self._signed_path("phone", tail, self.twilio_token)
        said = self.public_url + path + "".join(name + parameters[name] for name in sorted(parameters))
        mac = hmac.new(self.twilio_token.encode(), said.encode(), hashlib.sha1).digest()
        headers = {"X-Twilio-Signature": base64.b64encode(mac).decode()}
        return self._post("phone", path, urlencode(parameters).encode(), _FORM_TYPE, headers)

    def post(self, event: bytes) -> Item:
        """One activity of X, signed with the app's secret."""
        path = self._signed_path("twitter", "", self.x_secret)
        mac = hmac.new(self.x_secret.encode(), event, hashlib.sha256).digest()
        headers = {"x-twitter-webhooks-signature": f"sha256={base64.b64encode(mac).decode()}"}
        return self._post("twitter", path, event, "application/json", headers)

    def _signed_path(self, channel: str, tail: str, secret: str) -> str:
        if not secret:
            raise BenchError(f"the secret of inbox {self._inbox(channel)} is not set, so {channel} cannot be signed")
        return f"/hooks/{self._inbox(channel)}{'/' if tail else ''}{tail}"

    def _inbox(self, channel: str) -> str:
        try:
            return self.inboxes[channel]
        except KeyError:
            raise BenchError(f"this desk has no inbox of channel {channel}") from None

    def _post(self, channel: str, path: str, body: bytes, content_type: str, headers: Mapping[str, str]) -> Item:
        lines = [f"POST {path} HTTP/1.1", f"Host: {self.http[0]}", f"Content-Type: {content_type}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        lines += [f"Content-Length: {len(body)}", "", ""]
        return Item(uuid.uuid4().hex, "", "\r\n".join(lines).encode() + body, channel)
