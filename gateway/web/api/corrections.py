"""Writing: people correct which ticket a comment is on. Merge in Zendesk's shape, the rest is ours.

    POST tickets/{id}/merge    {"ids": [2, 3], "target_comment": "...", "source_comment": "..."}  -> job_status
    POST tickets/{id}/split    {"comment_id": 17, "and_following": true}                          -> ticket, event
    POST tickets/{id}/move     {"comment_id": 17, "ticket_id": 4}                                 -> ticket, event
    POST tickets/{id}/relate   {"ticket_id": 4, "reason": "..."}                                  -> ticket, event
    POST events/{id}/undo                                                                         -> ticket, event

404: there is no such ticket, comment or event. 422: it makes no sense as asked. 409: something has happened since.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from aiohttp import web

from gateway.store import corrections, tickets
from gateway.store.events import get_event, page_events
from gateway.store.journal import Done
from gateway.store.paging import Row
from gateway.store.undoing import undo
from gateway.web.api import event_shapes, shapes
from gateway.web.api.answers import answer, base_url, not_found
from gateway.web.api.bodies import actor_of, read_object, take_flag, take_id, take_ids, take_text
from gateway.web.api.envelopes import envelope, read_ask, read_id
from gateway.web.reading import read, write

_LONGEST_NOTE: Final = 10_000  # characters
_LONGEST_REASON: Final = 500


async def merge(request: web.Request) -> web.Response:
    """POST tickets/{id}/merge: tickets become part of this one. Done when it answers; the job says so.

    Source: Zendesk developer docs, Ticketing API, Merge Tickets into Target Ticket. The comments stay on the event.
    """
    target, said = read_id(request), await read_object(request)
    names = ("target_comment", "source_comment")
    notes = {name: take_text(said, name, _LONGEST_NOTE, "") or "" for name in names}
    done = await write(request, corrections.merge, target, take_ids(said, "ids"), notes=notes, **_by(request))
    return await _answer_job(request, done.event_id)


async def split(request: web.Request) -> web.Response:
    """POST tickets/{id}/split: a comment, and what follows it unless told otherwise, on a new ticket."""
    ticket, said = read_id(request), await read_object(request)
    following = take_flag(said, "and_following", default=True)
    comment = take_id(said, "comment_id")
    done = await write(request, corrections.split, ticket, comment, following=following, **_by(request))
    return await _answer(request, done, 201)


async def move(request: web.Request) -> web.Response:
    """POST tickets/{id}/move: a comment to another ticket."""
    ticket, said = read_id(request), await read_object(request)
    comment, target = take_id(said, "comment_id"), take_id(said, "ticket_id")
    return await _answer(request, await write(request, corrections.move, ticket, comment, target, **_by(request)))


async def relate(request: web.Request) -> web.Response:
    """POST tickets/{id}/relate: a link between two tickets."""
    ticket, said = read_id(request), await read_object(request)
    reason = take_text(said, "reason", _LONGEST_REASON, "") or ""
    done = await write(request, corrections.relate, ticket, take_id(said, "ticket_id"), reason=reason, **_by(request))
    return await _answer(request, done)


async def undo_event(request: web.Request) -> web.Response:
    """POST events/{id}/undo: take a correction back."""
    return await _answer(request, await write(request, undo, read_id(request), **_by(request)))


async def list_events(request: web.Request) -> web.Response:
    """GET tickets/{id}/events: everything that happened to it, and which of it can be undone."""
    ident, ask = read_id(request), read_ask(request.query)
    if await read(request, tickets.get_ticket, ident) is None:
        raise not_found()
    page = await read(request, page_events, ident, ask)
    rows = [event_shapes.event(row, base_url(request)) for row in page.rows]
    return answer(envelope(request, "events", rows, page, ask))


async def show_job(request: web.Request) -> web.Response:
    """GET job_statuses/{id}: a merge that was made; its number is its event's."""
    return await _answer_job(request, read_id(request))


async def _answer(request: web.Request, done: Done, status: int = 200) -> web.Response:
    event = await read(request, get_event, done.event_id)
    body: Row = {"event": event_shapes.event(event, base_url(request))} if event else {}
    if done.ticket_id is not None:
        ticket = await read(request, tickets.get_ticket, done.ticket_id)
        body["ticket"] = shapes.ticket(ticket, base_url(request)) if ticket else None
    return answer(body, status)


async def _answer_job(request: web.Request, event_id: int) -> web.Response:
    event = await read(request, get_event, event_id)
    if event is None or event["kind"] != "merged":
        raise not_found()
    return answer({"job_status": event_shapes.job_status(event, base_url(request))})


def _by(request: web.Request) -> dict[str, Any]:
    return {"actor": actor_of(request), "now": datetime.now(UTC)}
