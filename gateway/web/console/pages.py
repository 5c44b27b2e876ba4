"""The pages: lists, one ticket, one suspended message, one dead letter, one receipt."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from aiohttp import web
from sqlalchemy import Connection

from gateway.store import suspended, tickets, timeline
from gateway.store.events import get_event
from gateway.store.explanations import explain
from gateway.store.paging import Ask, Page, Row
from gateway.store.search import SearchError, list_found, parse_query
from gateway.web.api.files import read_bytes
from gateway.web.console import explaining
from gateway.web.console.rendering import CHANNELS, page, prefix
from gateway.web.reading import read
from normalizer.message import clean_text

_ROWS: Final = 50
_COMMENTS: Final = 100
_LONG_TEXT: Final = 20_000  # characters shown in place; the rest is behind a link
_PREVIEW: Final = 6000  # bytes of an original shown in place
_LISTS: Final = ("newest", "waiting", "suspended", "aside", "dead")


async def show_list(request: web.Request) -> web.StreamResponse:
    """GET console: `list` newest, waiting, suspended, aside, dead; `channel`; `q` searches; `after`, `before` page."""
    query = request.query
    words = query.get("q", "").strip()
    if (receipt := _as_uuid(words)) is not None:
        raise web.HTTPSeeOther(f"{prefix(request)}/console/receipts/{receipt}")
    name = query.get("list", "") if query.get("list", "") in _LISTS else "newest"
    channel = clean_text(query.get("channel", ""))
    ask = Ask(_ROWS, after=query.get("after", ""), before=query.get("before", ""))
    try:
        found = await read(request, _read_list, name, channel, words, ask)
        wrong = ""
    except SearchError as error:
        found, wrong = await read(request, _read_list, name, channel, "ticket_id:0", ask), str(error)
    channels = sorted(
        {*CHANNELS, *found["channels"]}, key=lambda one: (one not in CHANNELS, [*CHANNELS, one].index(one))
    )
    values = {"list": name, "channel": channel, "q": words, "wrong": wrong, "channel_order": channels, **found}
    return page(request, "list.html", values)


async def show_ticket(request: web.Request) -> web.StreamResponse:
    """GET console/tickets/{id}; a merged ticket leads to the one that holds its messages now."""
    ident = int(request.match_info["id"])
    target = await read(request, tickets.survivor, ident)
    if target != ident:
        raise web.HTTPSeeOther(f"{prefix(request)}/console/tickets/{target}")
    ticket = await read(request, timeline.timeline, ident, Ask(_COMMENTS, before=request.query.get("before", "")))
    if ticket is None:
        return _missing(request, f"There is no ticket #{ident}", "Perhaps the number is mistyped.")
    mark = await read(request, timeline.revision)
    values = {
        "done": await _done(request, ticket),
        "ticket": ticket,
        "entries": _entries(ticket),
        "links": _links(ticket),
        "others": _others(ticket),
        "revision": mark,
    }
    return page(request, "ticket.html", values)


async def show_suspended(request: web.Request) -> web.StreamResponse:
    """GET console/suspended/{id}: why it is held, what it says, what arrived."""
    row = await read(request, suspended.get_suspended, int(request.match_info["id"]))
    if row is None:
        return _missing(request, "There is no such suspended message", "Perhaps somebody has dealt with it.")
    original = await read_bytes(request, row, "original", "original_blob")
    message = row["message"] if isinstance(row["message"], dict) else {}
    again = "read" in request.query and row["decision"] is None
    return page(request, "suspended.html", {"held": row, "message": message, "again": again, **_preview(original)})


async def show_dead_letter(request: web.Request) -> web.StreamResponse:
    """GET console/dead/{id}: why it died, and its body."""
    row = await read(request, suspended.get_dead_letter, int(request.match_info["id"]))
    if row is None:
        return _missing(request, "There is no such dead letter", "Perhaps it was replayed and recorded.")
    return page(request, "dead.html", {"letter": row, **_preview(bytes(row["body"]))})


async def show_receipt(request: web.Request) -> web.StreamResponse:
    """GET console/receipts/{uuid}: what became of one delivery."""
    ident = _as_uuid(request.match_info["id"])
    told = await read(request, explain, ident) if ident else None
    if told is None:
        sentence = (
            "It is still on its way, or it is not one of ours. A receipt appears here once its message is recorded."
        )
        return _missing(request, "No outcome is recorded for this receipt", sentence)
    return page(request, "receipt.html", {"receipt": told["receipt"], "told": told})


async def show_nothing(request: web.Request) -> web.StreamResponse:
    """Any other address below the console."""
    return _missing(request, "There is nothing at this address", "The list of tickets is a good place to start.")


async def _done(request: web.Request, ticket: Row) -> Row | None:
    """What a button has just done, if it is about this ticket."""
    text = request.query.get("done", "")
    event = (
        await read(request, get_event, int(text)) if text.isascii() and text.isdecimal() and len(text) < 19 else None
    )
    known = {event["id"] for event in ticket["events"]}
    return event if event and event["id"] in known else None


def _missing(request: web.Request, title: str, sentence: str) -> web.Response:
    return page(request, "message.html", {"title": title, "sentence": sentence}, status=404)


def _read_list(conn: Connection, name: str, channel: str, words: str, ask: Ask) -> Row:
    """Everything a list page shows, in one look at the store."""
    return {
        "page": _read_page(conn, name, channel, words, ask),
        "channels": tickets.channel_counts(conn),
        "waiting": tickets.waiting_count(conn),
        "suspended": suspended.count_suspended(conn),
        "aside": suspended.count_suspended(conn, "rejected"),
        "dead": suspended.count_dead_letters(conn),
        "revision": timeline.revision(conn),
    }


def _read_page(conn: Connection, name: str, channel: str, words: str, ask: Ask) -> Page:
    if words:
        return list_found(conn, parse_query(words), ask, datetime.now(UTC))
    if name in ("suspended", "aside"):
        decision = "rejected" if name == "aside" else None
        return suspended.page_suspended(conn, ask, descending=True, decision=decision)
    if name == "dead":
        return suspended.page_dead_letters(conn, ask)
    return tickets.newest_first(conn, ask, channel, waiting=name == "waiting")


def _entries(ticket: Row) -> list[dict[str, Any]]:
    """Comments and events in one line of time."""
    shown: Page = ticket["comments"]
    entries = [{"at": row["received_at"], "comment": _with_labels(row), "event": None} for row in shown.rows]
    opened = min((event["id"] for event in ticket["events"] if event["kind"] == "created"), default=None)
    since = entries[0]["at"] if entries and shown.has_more else None
    first = min((entry["at"] for entry in entries), default=None)
    entries.extend(
        # recorded a moment after its first message arrived, a ticket still opens before it
        {
            "at": min(event["at"], first) if event["id"] == opened and first else event["at"],
            "comment": None,
            "event": event,
        }
        for event in ticket["events"]
        if event["kind"] != "commented" and (since is None or event["at"] >= since)
        if event["kind"] != "created" or event["id"] == opened
    )
    return sorted(entries, key=lambda entry: (entry["at"], entry["comment"] is not None))


def _with_labels(row: Row) -> Row:
    text, full = row["text"], row["full_text"]
    return {
        **row,
        "shown": text[:_LONG_TEXT],
        "cut": len(text) > _LONG_TEXT,
        "whole": full[:_LONG_TEXT] if full and full != text else "",
        "verdict_label": explaining.verdict_label(row["verdict"]),
        "labels": [*_hits(row["automated"], "automated"), *_hits(row["problems"], "problem")],
        "facts": [
            (str(name), _fact(value)) for name, value in row["fields"].items() if value not in (None, "", [], {})
        ],
    }


def _hits(hits: Any, kind: str) -> list[dict[str, str]]:
    return [
        {"kind": kind, "name": str(hit.get("name", "")).replace("_", " "), "reason": str(hit.get("reason", ""))}
        for hit in hits
        if isinstance(hit, dict)
    ]


def _fact(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 300 else f"{text[:300]}…"


def _links(ticket: Row) -> list[dict[str, Any]]:
    return [
        {
            "label": explaining.link_label(row["kind"], forward=row["forward"]),
            "other": row["other"],
            "reason": row["reason"],
        }
        for row in ticket["links"]
        if row["other"] is not None
    ]


def _others(ticket: Row) -> list[str]:
    """Who takes part beside the requester."""
    own = ticket["requester"]["identities"] if ticket["requester"] else []
    known = {f"{one['kind']}:{one['value']}" for one in own}
    return [person for person in ticket["participants"] if person not in known]


def _preview(content: bytes | None) -> dict[str, Any]:
    """The beginning of some bytes as text."""
    if content is None:
        return {"preview": "", "size": 0, "cut": False, "present": False}
    text = content[:_PREVIEW].decode("utf-8", "replace")
    readable = "".join(sign if sign.isprintable() or sign in "\n\t" else "·" for sign in text.replace("\r\n", "\n"))
    return {"preview": readable, "size": len(content), "cut": len(content) > _PREVIEW, "present": True}


def _as_uuid(text: str) -> UUID | None:
    if len(text) not in (32, 36):
        return None
    try:
        return UUID(text)
    except ValueError:
        return None
