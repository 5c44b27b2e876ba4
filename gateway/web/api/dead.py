"""Dead letters: what could not be recorded, and trying it once more. Ours; Zendesk has no such thing.

    GET dead_letters                  newest first; ?channel=, ?inbox=, ?reason= (words in it), ?replayed=true, false
    GET dead_letters/{id}             with its body: JSON as it is, anything else as text
    PUT dead_letters/{id}/replay      -> 202 {"replay": ...}     ?dry_run=true: only told
    PUT dead_letters/replay_many      -> 202 {"replay": ...}     ?ids=1,2, or the filters of the list, or ?all=true

A letter is put back into the queue under the receipt it has. What was recorded since is recognised by it, so replaying
twice changes nothing. With filters or `all` only those are taken that have not been recorded since.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from aiohttp import web
from pydantic_core import from_json

from gateway import dead
from gateway.queues.base import QueueUnavailableError
from gateway.web.api.answers import ApiError, answer, bad_request, base_url, not_found
from gateway.web.api.envelopes import read_id, read_ids
from gateway.web.api.shapes import timestamp
from gateway.web.keys import RUNTIME
from gateway.web.reading import read
from normalizer.message import clean_text

_MOST: Final = 1000  # letters in one list


async def list_dead(request: web.Request) -> web.Response:
    """GET dead_letters."""
    rows = await read(request, dead.list_dead, _choice(request))
    shapes = [_shape(row, base_url(request)) for row in reversed(rows[-_MOST:])]
    return answer({"dead_letters": shapes, "count": len(rows)})


async def show_dead(request: web.Request) -> web.Response:
    """GET dead_letters/{id}."""
    row = await read(request, dead.show_dead, read_id(request))
    if row is None:
        raise not_found()
    body = bytes(row.pop("body"))
    return answer({"dead_letter": {**_shape(row, base_url(request)), "body": _readable(body)}})


async def replay_one(request: web.Request) -> web.Response:
    """PUT dead_letters/{id}/replay."""
    found = await _replay(request, [read_id(request)])
    if not found:
        raise not_found()
    return _answer(request, found)


async def replay_many(request: web.Request) -> web.Response:
    """PUT dead_letters/replay_many."""
    choice = _choice(request)
    named, everything = "ids" in request.query, _flag(request, "all") is True
    filtered = replace(choice, replayed=None) != dead.Choice()
    if named + everything + filtered != 1:
        raise bad_request("InvalidChoice", "Give ids=1,2, or channel, inbox or reason, or all=true.")
    if named:
        return _answer(request, await _replay(request, read_ids(request.query)))
    chosen = await read(request, dead.choose_dead, replace(choice, replayed=False))
    return _answer(request, await _replay(request, chosen))


async def _replay(request: web.Request, ids: Sequence[int]) -> list[int]:
    try:
        return await dead.replay(request.app[RUNTIME], ids, _flag(request, "dry_run") is True)
    except QueueUnavailableError as error:
        sentence = (
            f"The queue takes nothing at the moment: {error}. Some may have been replayed; doing it again is safe."
        )
        body = {"error": "ServiceUnavailable", "description": sentence}
        raise ApiError(503, body, {"Retry-After": "5"}) from error


def _answer(request: web.Request, ids: Sequence[int]) -> web.Response:
    told = {"ids": list(ids), "count": len(ids), "dry_run": _flag(request, "dry_run") is True}
    return answer({"replay": told}, 202)


def _choice(request: web.Request) -> dead.Choice:
    words = {name: clean_text(request.query.get(name, ""))[:200] for name in ("channel", "inbox", "reason")}
    return dead.Choice(**words, replayed=_flag(request, "replayed"))


def _flag(request: web.Request, name: str) -> bool | None:
    said = request.query.get(name)
    if said in (None, ""):
        return None
    if said not in ("true", "false"):
        raise bad_request("InvalidChoice", f"{name} is true or false")
    return said == "true"


def _shape(row: dict[str, Any], base: str) -> dict[str, Any]:
    return {
        "id": row["id"],
        "url": f"{base}/api/v2/dead_letters/{row['id']}.json",
        "receipt_id": str(row["receipt_id"]),
        "channel": row["channel"],
        "inbox": row["inbox"],
        "type": row["type"],
        "reason": row["reason"],
        "attempts": row["attempts"],
        "died_at": timestamp(row["died_at"]),
        "replayed_at": timestamp(row["replayed_at"]) if row["replayed_at"] else None,
    }


def _readable(body: bytes) -> Any:
    try:
        return from_json(body)
    except (ValueError, RecursionError):
        return body.decode("utf-8", "backslashreplace")
