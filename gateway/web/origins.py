"""Which pages' scripts may talk to us: the Origin header against ourselves and an inbox's list. No cookies anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from aiohttp import web

from adapters.base import Refused
from gateway.web.keys import RUNTIME


def check_origin(request: web.Request, allowed: Sequence[str]) -> dict[str, str]:
    """CORS headers for this answer: none for our own pages and for programs. Raises `Refused` 403 for other pages.

    The origin is echoed only when it is on the list, exactly; `null` (sandboxed frames, files) is never on it.
    """
    origin = request.headers.get("Origin")
    if origin is None or _is_ours(request, origin):
        return {}
    if origin == "null" or origin not in {entry.rstrip("/") for entry in allowed}:
        raise Refused(403, "Scripts of this page may not post here; add its origin to allowed_origins.")
    return {"Access-Control-Allow-Origin": origin, "Vary": "Origin", "Access-Control-Expose-Headers": "Retry-After"}


def preflight(request: web.Request, allowed: Sequence[str]) -> web.Response:
    """The answer to a browser that asks first (Fetch standard, CORS-preflight request)."""
    headers = check_origin(request, allowed) | {
        "Access-Control-Allow-Methods": "POST",
        "Access-Control-Allow-Headers": "Accept, Content-Type, Idempotency-Key",
        "Access-Control-Max-Age": "600",
    }
    return web.Response(status=204, headers=headers)


def origin_of(url: str) -> str:
    """`https://shop.example/a?b` -> `https://shop.example`; empty when it is no http URL."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.netloc.lower()}" if parts.scheme in ("http", "https") and parts.netloc else ""


def _is_ours(request: web.Request, origin: str) -> bool:
    """Our configured address, or the host this very request went to: a browser cannot choose its Host."""
    if origin == origin_of(request.app[RUNTIME].settings.base_url):
        return True
    return bool(request.host) and origin.partition("://")[2].lower() == request.host.lower()
