"""The cookie that carries a browser's session, and the token that its forms carry beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from gateway.web.keys import RUNTIME

if TYPE_CHECKING:
    from gateway.web.auth import Logins


def session_cookie(request: web.Request) -> str:
    """The cookie of an open session; empty when there is none."""
    logins: Logins = request.app[RUNTIME].logins
    cookie = request.cookies.get(cookie_name(request), "")
    return cookie if logins.is_open(cookie) else ""


def form_token(request: web.Request) -> str:
    """What forms of this session carry, so that no other page can post them; empty without a session."""
    logins: Logins = request.app[RUNTIME].logins
    cookie = session_cookie(request)
    return logins.form_token(cookie) if cookie else ""


def session_name(request: web.Request) -> str:
    """For whom the open session's link was made; empty: nobody in particular, or no session."""
    logins: Logins = request.app[RUNTIME].logins
    return logins.name_of(session_cookie(request))


def cookie_name(request: web.Request) -> str:
    """The name of the cookie, by whether browsers reach us over TLS."""
    # RFC 6265bis section 4.1.3: a name with __Secure- is taken from https only
    return "__Secure-frontdesk_console" if is_secure(request) else "frontdesk_console"


def is_secure(request: web.Request) -> bool:
    """Do browsers reach us over TLS?"""
    base: str = request.app[RUNTIME].settings.base_url
    return base.startswith("https://")
