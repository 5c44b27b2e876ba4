"""X: posts, signed webhooks, and the mentions timeline of its API on loopback, with the faults it is known for.

Written from X's documentation, not from the adapter: newest first, pages of `max_results`, `next_token` chains,
`since_id`, a depth of 800, no `data` key on an empty page, rate-limit headers and no Retry-After.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections import deque
from collections.abc import Mapping
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

US = "1111111111111111111"
BOB = "2222222222222222222"
SECRET = "fake-x-consumer-secret"
BEARER = "fake-bearer-AAAA"
DEPTH = 800
NAMES = {US: ("AcmeHelp", "Acme Help"), BOB: ("bob_x", "Bob")}
FIRST_ID = 2083000000000000000


def sign(body: bytes, secret: str = SECRET) -> str:
    """The value of `x-twitter-webhooks-signature`."""
    return "sha256=" + base64.b64encode(hmac.new(secret.encode(), body, hashlib.sha256).digest()).decode()


def user(user_id: str) -> dict[str, Any]:
    """A user as `includes.users` has it."""
    handle, name = NAMES.get(user_id, (f"user{user_id}", f"User {user_id}"))
    return {"id": user_id, "username": handle, "name": name}


def post(number: int, text: str = "@AcmeHelp my order is late", author: str = BOB, **more: Any) -> dict[str, Any]:
    """A post of API version 2. Its id is `FIRST_ID + number`; it mentions us when its text does."""
    post_id = str(FIRST_ID + number)
    start = text.find("@AcmeHelp")
    mentions = [{"start": start, "end": start + 9, "username": "AcmeHelp", "id": US}] if start >= 0 else []
    return {
        "id": post_id,
        "text": text,
        "author_id": author,
        "conversation_id": post_id,
        "created_at": "2026-08-01T09:59:50.000Z",
        "edit_history_tweet_ids": [post_id],
        "lang": "en",
        "entities": {"mentions": mentions},
    } | more


def activity(kind: str, payload: Mapping[str, Any], *, uuid: str = "1", users: Any = None) -> bytes:
    """The body of an X Activity webhook."""
    users = [user(BOB), user(US)] if users is None else users
    data = {"event_uuid": uuid, "filter": {"user_id": US}, "event_type": kind, "tag": "acme", "payload": payload}
    return json.dumps({"data": data | {"includes": {"users": users}}}).encode()


def direct_message(number: int, text: str, sender: str = BOB, recipient: str = US, **data: Any) -> dict[str, Any]:
    """The payload of a `dm.received` event."""
    event = {
        "type": "message_create",
        "id": str(FIRST_ID + number),
        "created_timestamp": "1785578390000",
        "message_create": {
            "target": {"recipient_id": recipient},
            "sender_id": sender,
            "message_data": {"text": text, "entities": {}} | data,
        },
    }
    return {"direct_message_events": [event], "users": {BOB: {"data": user(BOB)}, US: {"data": user(US)}}}


class FakeX:
    """The API. Append to `posts`; put answers into `faults` to be given once each, before anything else."""

    def __init__(self) -> None:
        self.posts: list[dict[str, Any]] = []
        self.media: list[dict[str, Any]] = []
        self.faults: deque[web.Response] = deque()
        self.requests: list[dict[str, str]] = []
        self._server: TestServer | None = None

    async def __aenter__(self) -> FakeX:
        app = web.Application()
        app.router.add_get("/2/users/{user_id}/mentions", self._mentions)
        self._server = TestServer(app)
        await self._server.start_server()
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        await self._server.close()

    @property
    def url(self) -> str:
        """To be used as `api_base`."""
        assert self._server is not None
        return str(self._server.make_url("/"))

    async def _mentions(self, request: web.Request) -> web.Response:
        self.requests.append(dict(request.query))
        if self.faults:
            return self.faults.popleft()
        if request.headers.get("Authorization") != f"Bearer {BEARER}":
            return web.json_response({"title": "Unauthorized", "status": 401}, status=401)
        if request.match_info["user_id"] != US:
            return web.json_response({"errors": [{"message": "no such user"}]}, status=404)
        since = int(request.query.get("since_id", "0"))
        listed = sorted(self.posts, key=lambda item: int(item["id"]), reverse=True)[:DEPTH]
        listed = [item for item in listed if int(item["id"]) > since]
        start, size = int(request.query.get("pagination_token", "0")), int(request.query["max_results"])
        return web.json_response(self._page(listed, start, size))

    def _page(self, listed: list[dict[str, Any]], start: int, size: int) -> dict[str, Any]:
        chosen = listed[start : start + size]
        if not chosen:
            return {"meta": {"result_count": 0}}
        meta: dict[str, Any] = {
            "newest_id": chosen[0]["id"],
            "oldest_id": chosen[-1]["id"],
            "result_count": len(chosen),
        }
        if start + size < len(listed):
            meta["next_token"] = str(start + size)
        people = sorted({item["author_id"] for item in chosen} | {US})
        includes = {"users": [user(user_id) for user_id in people], "media": self.media}
        return {"data": chosen, "includes": includes, "meta": meta}
