"""What waits for a person, and what they decide. Zendesk's shape, and reading again, which is ours.

    GET    suspended_tickets                        those that wait; ?decision=rejected, recovered: those that did
    GET    suspended_tickets/{id}
    PUT    suspended_tickets/{id}/recover           -> {"ticket": ...}         it is let in as it is
    PUT    suspended_tickets/recover_many?ids=1,2   -> {"tickets": [...]}
    DELETE suspended_tickets/{id}                   -> 204                     it is set aside, and kept
    DELETE suspended_tickets/destroy_many?ids=1,2   -> 204
    PUT    suspended_tickets/{id}/replay            -> 202 {"replay": ...}     it is read again; ?dry_run=true: told
    PUT    suspended_tickets/replay_many?ids=1,2    -> 202 {"replays": [...]}

Only an explicit erasure deletes: what Zendesk calls delete takes a message off the list, and it can still be recovered.
Recovered messages keep their requester (Zendesk makes the agent the requester). All of it may be repeated.
Source: Zendesk developer docs, Ticketing API, Suspended Tickets.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from gateway.queues.base import QueueUnavailableError
from gateway.replay import Reread, replay
from gateway.store import suspended, tickets
from gateway.store.paging import Row
from gateway.store.recovering import recover, reject, tickets_of
from gateway.web.api import shapes
from gateway.web.api.answers import ApiError, answer, bad_request, base_url, not_found
from gateway.web.api.bodies import actor_of
from gateway.web.api.envelopes import envelope, read_ask, read_id, read_ids, read_sort
from gateway.web.keys import RUNTIME
from gateway.web.reading import read, write
from normalizer.message import Draft, MessageDraft


async def list_suspended(request: web.Request) -> web.Response:
    """GET suspended_tickets."""
    ask = read_ask(request.query)
    newest = read_sort(request.query, {"created_at": "id", "id": "id"}, "id") == "-id"
    decision = request.query.get("decision") or None
    if decision not in (None, "recovered", "rejected"):
        raise bad_request("InvalidDecision", "decision is recovered or rejected; without it, those that wait")
    page = await read(request, suspended.page_suspended, ask, descending=newest, decision=decision)
    rows = [shapes.suspended(row, base_url(request)) for row in page.rows]
    return answer(envelope(request, "suspended_tickets", rows, page, ask))


async def show_suspended(request: web.Request) -> web.Response:
    """GET suspended_tickets/{id}."""
    row = await read(request, suspended.get_suspended, read_id(request))
    if row is None:
        raise not_found()
    return answer({"suspended_ticket": shapes.suspended(row, base_url(request))})


async def recover_one(request: web.Request) -> web.Response:
    """PUT suspended_tickets/{id}/recover."""
    found = await _recover(request, [read_id(request)])
    if not found:
        raise not_found()
    return answer({"ticket": found[0]})


async def recover_many(request: web.Request) -> web.Response:
    """PUT suspended_tickets/recover_many: all in one transaction; numbers that there are not are passed over."""
    return answer({"tickets": await _recover(request, _ids(request))})


async def reject_one(request: web.Request) -> web.Response:
    """DELETE suspended_tickets/{id}."""
    if not await write(request, reject, [read_id(request)], actor=actor_of(request), now=datetime.now(UTC)):
        raise not_found()
    return web.Response(status=204)


async def reject_many(request: web.Request) -> web.Response:
    """DELETE suspended_tickets/destroy_many."""
    await write(request, reject, _ids(request), actor=actor_of(request), now=datetime.now(UTC))
    return web.Response(status=204)


async def replay_one(request: web.Request) -> web.Response:
    """PUT suspended_tickets/{id}/replay."""
    done = await _replay(request, [read_id(request)])
    if not done:
        raise not_found("No suspended message of this number waits.")
    return answer({"replay": done[0]}, 202)


async def replay_many(request: web.Request) -> web.Response:
    """PUT suspended_tickets/replay_many; those that do not wait are passed over."""
    return answer({"replays": await _replay(request, _ids(request))}, 202)


async def _recover(request: web.Request, ids: Sequence[int]) -> list[Row | None]:
    rules, ours = request.app[RUNTIME].recording()
    how: dict[str, Any] = {"actor": actor_of(request), "now": datetime.now(UTC), "rules": rules, "ours": ours}
    await write(request, recover, ids, **how)
    found = await read(request, tickets_of, ids)  # as they are now: the batch may have merged two of them
    rows = {row["id"]: row for row in await read(request, tickets.get_tickets, [one for one in found.values() if one])}
    return [
        shapes.ticket(rows[found[ident]], base_url(request)) if found[ident] in rows else None
        for ident in ids
        if ident in found
    ]


async def _replay(request: web.Request, ids: Sequence[int]) -> list[Row]:
    dry_run = request.query.get("dry_run", "").lower() in ("true", "1", "yes")
    runtime = request.app[RUNTIME]
    try:
        return [_told(one) async for one in replay(runtime, ids, actor=actor_of(request), dry_run=dry_run)]
    except QueueUnavailableError:
        sentence = "Nothing can be queued at the moment; try again shortly."
        raise ApiError(503, {"error": "ServiceUnavailable", "description": sentence}, {"Retry-After": "5"}) from None


def _told(one: Reread) -> Row:
    """What was read: `reads_as` is empty where it could not be read at all."""
    return {
        "suspended_ticket_id": one.suspended_id,
        "receipt_id": str(one.receipt_id),
        "was": one.was,
        "still_suspended": bool(one.cause or one.error),
        "cause": one.error or one.cause or None,
        "reads_as": [_shown(draft) for draft in one.drafts],
    }


def _shown(draft: Draft) -> Row:
    if not isinstance(draft, MessageDraft):
        return {"kind": draft.kind, "external_id": draft.external_id, "reason": draft.reason}
    return {
        "kind": "message",
        "external_id": draft.external_id,
        "author": draft.author.value,
        "subject": draft.subject,
        "text": draft.text[:2_000],
        "attachments": len(draft.attachments),
        "problems": [hit.name for hit in draft.problems],
    }


def _ids(request: web.Request) -> list[int]:
    ids = read_ids(request.query)
    if not ids:
        raise bad_request("MissingIds", "ids names the suspended tickets, as in ?ids=17,18")
    return list(dict.fromkeys(ids))
