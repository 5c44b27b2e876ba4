"""The console's buttons: plain forms that work without JavaScript, and lead back to the ticket they are about.

A form is taken from an open session only, from a page of ours (Origin), and with that session's own token: cookies
travel with what other sites post, neither of the others does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import parse_qsl

from aiohttp import web

from adapters.base import Refused
from gateway.store import claims, corrections
from gateway.store.journal import CorrectionError, Done
from gateway.store.paging import MAX_ID
from gateway.store.undoing import undo
from gateway.web.console.cookies import session_cookie, session_name
from gateway.web.console.rendering import page, prefix
from gateway.web.keys import RUNTIME
from gateway.web.limits import read_body
from gateway.web.origins import check_origin
from gateway.web.reading import write

ACTOR: Final = "console"  # of a session whose link was made for nobody in particular
_LARGEST: Final = 64 * 1024  # bytes of a form
_MOST_FIELDS: Final = 20
_STATUS: Final = {"missing": 404, "invalid": 422, "conflict": 409}

Form = Mapping[str, str]
Action = Callable[[web.Request, Form], Awaitable[Done | str | None]]
"""A correction that was made, or where to go below the console."""


def taking(action: Action) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """The handler of a form: checks where it comes from, acts, and leads to the ticket, or says why not."""

    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            form = await _read_form(request)
        except Refused as refused:
            return _explain(request, {}, refused.status, "This form was not taken", str(refused))
        try:
            done = await action(request, form)
        except CorrectionError as error:
            sentence = f"{str(error)[:1].upper()}{str(error)[1:]}."
            return _explain(request, form, _STATUS[error.kind], "That cannot be done", sentence)
        return web.Response(status=303, headers={"Location": _next(request, form, done), "Cache-Control": "no-store"})

    return handle


async def split(request: web.Request, form: Form) -> Done:
    """POST console/tickets/{id}/split: `comment_id`, `and_following` yes or no."""
    following = form.get("and_following") == "yes"
    comment = _number(form, "comment_id")
    return await write(request, corrections.split, _ticket(request), comment, following=following, **_by(request))


async def move(request: web.Request, form: Form) -> Done:
    """POST console/tickets/{id}/move: `comment_id`, `ticket_id`."""
    comment, target = _number(form, "comment_id"), _number(form, "ticket_id")
    return await write(request, corrections.move, _ticket(request), comment, target, **_by(request))


async def merge(request: web.Request, form: Form) -> Done:
    """POST console/tickets/{id}/merge: this ticket becomes part of `ticket_id`."""
    return await write(request, corrections.merge, _number(form, "ticket_id"), [_ticket(request)], **_by(request))


async def relate(request: web.Request, form: Form) -> Done:
    """POST console/tickets/{id}/relate: `ticket_id`."""
    return await write(request, corrections.relate, _ticket(request), _number(form, "ticket_id"), **_by(request))


async def undo_event(request: web.Request, form: Form) -> Done:
    """POST console/events/{id}/undo; `ticket_id` is where to go back to."""
    return await write(request, undo, _ticket(request), **_by(request))


async def decide(request: web.Request, form: Form) -> Done | None:
    """POST console/suggestions/{id}: `same` yes or no; `ticket_id` is where to go back to."""
    if form.get("same") not in ("yes", "no"):
        raise CorrectionError("invalid", "say whether they are the same person")
    return await write(request, claims.decide, _ticket(request), same=form["same"] == "yes", **_by(request))


async def _read_form(request: web.Request) -> Form:
    """The fields of a form of ours. Raises `Refused`."""
    cookie = session_cookie(request)
    if not cookie:
        raise Refused(403, "Changing something needs a session: open the console by its link.")
    if "Origin" not in request.headers:
        raise Refused(403, "The browser does not say from which page this form comes.")
    check_origin(request, ())
    body = await read_body(request, _LARGEST)
    try:
        form = dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS))
    except ValueError as error:
        raise Refused(400, "This is not a form of the console.") from error
    if not request.app[RUNTIME].logins.is_form_token(cookie, form.get("form_token", "")):
        raise Refused(403, "The page was opened in another session: reload it and try again.")
    return form


def _ticket(request: web.Request) -> int:
    return int(request.match_info["id"])


def _number(form: Form, name: str) -> int:
    text = form.get(name, "").strip().removeprefix("#")
    if not (text.isascii() and text.isdecimal() and len(text) < 19 and 0 < int(text) <= MAX_ID):
        what = "a ticket" if name == "ticket_id" else "a message"
        raise CorrectionError("invalid", f"give the number of {what}, such as 17", name)
    return int(text)


def _next(request: web.Request, form: Form, done: Done | str | None) -> str:
    """The ticket it is about, with a line that says what was done; or the page the action names."""
    if isinstance(done, str):
        return f"{prefix(request)}/console{done}"
    ticket = done.ticket_id if done and done.ticket_id is not None else _back(form)
    if ticket is None:
        return f"{prefix(request)}/console"
    query = f"?done={done.event_id}" if done else ""
    return f"{prefix(request)}/console/tickets/{ticket}{query}"


def _back(form: Form) -> int | None:
    text = form.get("back", "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else None


def _explain(request: web.Request, form: Form, status: int, title: str, sentence: str) -> web.Response:
    ticket = request.match_info["id"] if "/tickets/" in request.path else _back(form)
    values = {"title": title, "sentence": sentence, "back": ticket}
    return page(request, "message.html", values, status=status)


def acting(request: web.Request) -> str:
    """Who presses the buttons, as events say it."""
    return session_name(request) or ACTOR


def _by(request: web.Request) -> dict[str, Any]:
    return {"actor": acting(request), "now": datetime.now(UTC)}
