"""Who may look at the console: a browser session opened by a one-time link, or an API token."""

from __future__ import annotations

import functools
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web

from gateway.store.engine import is_transient, why
from gateway.store.paging import BadCursorError
from gateway.web.auth import SESSION_SECONDS, find_caller
from gateway.web.console.cookies import cookie_name, is_secure, session_cookie
from gateway.web.console.rendering import page, prefix
from gateway.web.keys import RUNTIME

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
log: Final = logging.getLogger(__name__)


def guarded(handler: Handler) -> Handler:
    """The handler for those who may look; others get a page that says how to get in."""

    @functools.wraps(handler)
    async def guard(request: web.Request) -> web.StreamResponse:
        if not is_allowed(request):
            return _refuse(request)
        try:
            return await handler(request)
        except BadCursorError as error:
            return _say(request, 400, "This page of the list is gone", str(error))
        except Exception as error:
            if not is_transient(error):
                raise
            log.warning("console: the database does not answer: %s", why(error), extra={"path": request.path})
            response = _say(request, 503, "The database does not answer", "Nothing is lost. Try again in a moment.")
            response.headers["Retry-After"] = "5"
            return response

    return guard


def is_allowed(request: web.Request) -> bool:
    """Is there an open session, or a valid token?"""
    if session_cookie(request):
        return True
    tokens = request.app[RUNTIME].settings.api_tokens
    return find_caller(request.headers.get("Authorization", ""), tokens) is not None


async def log_in(request: web.Request) -> web.StreamResponse:
    """GET console/login?token=: takes the token once, opens a session and goes to the console.

    The cookie is SameSite=Lax, not Strict: a link to a ticket in a chat or a mail to staff has to open it. A cross-site
    form post does not carry it, and what changes something asks for more (`correcting.py`).
    """
    if "prefetch" in request.headers.get("Sec-Purpose", "") + request.headers.get("Purpose", ""):
        return web.Response(status=503, text="A one-time link is not fetched ahead.")
    cookie = request.app[RUNTIME].logins.consume(request.query.get("token", "")[:800])
    if cookie is None and not is_allowed(request):
        return _refuse(request, used=True)
    response = web.Response(status=303, headers={"Location": f"{prefix(request)}/console", **_PRIVATE})
    if cookie is not None:
        response.set_cookie(
            cookie_name(request),
            cookie,
            max_age=SESSION_SECONDS,
            path=f"{prefix(request)}/console",
            httponly=True,
            secure=is_secure(request),
            samesite="Lax",
        )
    return response


async def log_out(request: web.Request) -> web.StreamResponse:
    """POST console/logout: ends the session here and in the browser."""
    name = cookie_name(request)
    request.app[RUNTIME].logins.close(request.cookies.get(name, ""))
    response = _say(request, 200, "You are signed out", "Frontdesk prints a new link with frontdesk console-link.")
    response.del_cookie(name, path=f"{prefix(request)}/console")
    return response


_PRIVATE: Final = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}


def _refuse(request: web.Request, *, used: bool = False) -> web.Response:
    title = "This link has been used or has expired" if used else "The console is closed to this browser"
    return page(request, "closed.html", {"title": title}, status=403)


def _say(request: web.Request, status: int, title: str, sentence: str) -> web.Response:
    return page(request, "message.html", {"title": title, "sentence": sentence}, status=status)
