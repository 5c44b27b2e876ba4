"""The buttons of a suspended message: let it in, read it again, set it aside."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from gateway.queues.base import QueueUnavailableError
from gateway.replay import replay
from gateway.store.journal import CorrectionError, missing
from gateway.store.recovering import recover as let_in
from gateway.store.recovering import reject as set_aside
from gateway.store.recovering import tickets_of
from gateway.web.console.correcting import Form, acting
from gateway.web.keys import RUNTIME
from gateway.web.reading import read, write


async def recover(request: web.Request, form: Form) -> str:
    """POST console/suspended/{id}/recover: to the ticket it is on now."""
    ident = _number(request)
    rules, ours = request.app[RUNTIME].recording()
    how: dict[str, Any] = {"actor": acting(request), "now": datetime.now(UTC), "rules": rules, "ours": ours}
    await write(request, let_in, [ident], **how)
    found = await read(request, tickets_of, [ident])
    if ident not in found:
        raise missing("there is no such suspended message")
    ticket = found[ident]
    return f"/tickets/{ticket}" if ticket is not None else f"/suspended/{ident}"


async def read_again(request: web.Request, form: Form) -> str:
    """POST console/suspended/{id}/replay: back to its page, which says what came of it."""
    ident, runtime = _number(request), request.app[RUNTIME]
    try:
        done = [one async for one in replay(runtime, [ident], actor=acting(request))]
    except QueueUnavailableError:
        raise CorrectionError("conflict", "nothing can be queued at the moment; try again shortly") from None
    if not done:
        raise CorrectionError("conflict", "it does not wait any more: somebody has decided about it")
    if done[0].error:
        raise CorrectionError("conflict", done[0].error)
    return f"/suspended/{ident}?read=again"


async def reject(request: web.Request, form: Form) -> str:
    """POST console/suspended/{id}/reject: back to the list."""
    if not await write(request, set_aside, [_number(request)], actor=acting(request), now=datetime.now(UTC)):
        raise missing("there is no such suspended message")
    return "?list=suspended"


def _number(request: web.Request) -> int:
    return int(request.match_info["id"])
