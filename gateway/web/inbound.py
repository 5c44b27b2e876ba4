"""`/hooks/<inbox>`: a provider's webhook -> the adapter's challenge, or the door in and the adapter's acknowledgement.

`accept` is also how forms and chats enter. A sender who hangs up does not take back what is being stored.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from aiohttp import web

from adapters.base import Answer, InboundRequest, Raw, Refused, TemporaryError
from gateway.intake import Inbox, NotDurableError, Receipt
from gateway.web.errors import retry_after
from gateway.web.keys import CLOCK, RUNTIME
from gateway.web.limits import limits_of, read_body

if TYPE_CHECKING:
    from gateway.runtime import Runtime

MAX_HOOK_BYTES: Final = 36 * 1024 * 1024  # Postmark posts a 25 MiB mail as 35 MB of JSON

RECEIPT_HEADER: Final = "Frontdesk-Receipt"  # providers show it in their logs of what they sent
_MOST_TOLD: Final = 50

_running: set[asyncio.Task[list[Receipt]]] = set()


async def receive(request: web.Request) -> web.Response:
    """Any method, /hooks/<inbox> and /hooks/<inbox>/<tail>."""
    runtime = request.app[RUNTIME]
    inbox = find_inbox(runtime, request.match_info["inbox"])
    tail = request.match_info.get("tail", "").strip("/")
    if tail not in inbox.adapter.tails:
        raise Refused(404, "There is nothing at this address.")
    if request.method not in ("GET", "HEAD", "POST"):
        raise Refused(405, "Webhooks are sent by POST.", headers={"Allow": "GET, POST"})
    most = inbox.adapter.max_request or getattr(inbox.options, "max_bytes", MAX_HOOK_BYTES)
    body = await read_body(request, most)
    arrived = inbound(request, runtime, tail, body)
    answer = inbox.adapter.challenge(arrived)
    if answer is not None:
        return response(answer)
    if request.method != "POST":
        raise Refused(405, "Webhooks are sent by POST.", headers={"Allow": "POST"})
    try:
        answer = await inbox.adapter.prepare(arrived)
    except TemporaryError as error:
        raise NotDurableError(f"{error}; send it again", error.retry_after or 30.0) from error
    if answer is not None:
        return response(answer)
    facts = {"received_at": now(request), "remote": arrived.remote}
    raw = Raw(body, request.headers.get("Content-Type", "application/octet-stream"), facts, request=arrived)
    try:
        receipts = await accept(runtime, inbox, raw)
    except NotDurableError as error:
        answer = inbox.adapter.refuse_temporarily(arrived) or Answer(503, b"Nothing can be stored; send it again.")
        refused = response(answer)
        if refused.status == 503:
            refused.headers.update(retry_after(error))
        return refused
    ids = [str(receipt.receipt_id) for receipt in receipts]
    acknowledged = response(inbox.adapter.acknowledge(arrived, ids))
    if ids:
        acknowledged.headers[RECEIPT_HEADER] = ", ".join(ids[:_MOST_TOLD])
    return acknowledged


async def accept(runtime: Runtime, inbox: Inbox, raw: Raw) -> list[Receipt]:
    """The door in, shielded: a sender who hangs up in the middle is still stored."""
    task = asyncio.ensure_future(runtime.intake.accept(inbox, raw))
    _running.add(task)
    task.add_done_callback(_finish)
    return await asyncio.shield(task)


def _finish(task: asyncio.Task[list[Receipt]]) -> None:
    _running.discard(task)
    if not task.cancelled():
        task.exception()  # heard, also when nobody waits any more


def find_inbox(runtime: Runtime, name: str, channel: str | None = None) -> Inbox:
    """The configured inbox of that name (and channel). Raises `Refused` 404."""
    inbox: Inbox | None = runtime.inboxes.get(name)
    if inbox is None or (channel is not None and inbox.channel != channel):
        raise Refused(404, "There is no such inbox here.")
    return inbox


def inbound(request: web.Request, runtime: Runtime, tail: str, body: bytes) -> InboundRequest:
    """What an adapter sees. The URL is the configured one and what was asked below it, never Host's word."""
    if not request.raw_path.startswith("/"):  # absolute form: the sender names a host of its own
        raise Refused(400, "Ask for a path, not for a whole URL.")
    return InboundRequest(
        method=request.method,
        tail=tail,
        url=runtime.settings.base_url + request.raw_path,
        query=request.rel_url.query,
        headers=request.headers,
        body=body,
        remote=limits_of(request).client(request),
    )


def response(answer: Answer) -> web.Response:
    """An adapter's answer on the wire."""
    headers = {"Content-Type": answer.content_type} if answer.body else {}
    return web.Response(status=answer.status, body=answer.body, headers={**headers, **answer.headers})


def now(request: web.Request) -> float:
    """Epoch seconds, by the application's clock."""
    return request.app.get(CLOCK, time.time)()
