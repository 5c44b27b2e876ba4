"""Jinja2 pages and the files they need: escaped by default, an unknown variable is an error, no inline code."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import jinja2
from aiohttp import web

_HERE: Final = Path(__file__).parent
_TYPES: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}

_jinja: Final = jinja2.Environment(
    loader=jinja2.FileSystemLoader(_HERE / "templates"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def page(template: str, values: Mapping[str, Any], status: int = 200) -> web.Response:
    """An HTML answer."""
    text = _jinja.get_template(template).render(values)
    return web.Response(
        text=text, status=status, content_type="text/html", headers={"Cache-Control": "private, no-cache"}
    )


@cache
def _file(name: str) -> tuple[bytes, str, str] | None:
    """(content, type, entity tag) of a file in `static/`; read once."""
    known = {path.name: path for path in (_HERE / "static").iterdir()}
    path = known.get(name)
    if path is None or path.suffix not in _TYPES:
        return None
    content = path.read_bytes()
    return content, _TYPES[path.suffix], hashlib.sha256(content).hexdigest()[:16]


def static(request: web.Request, name: str, *, elsewhere: bool = False) -> web.Response:
    """A file of ours, compressed when the browser takes it. `elsewhere`: other sites' pages may load it."""
    found = _file(name)
    if found is None:
        raise web.HTTPNotFound
    content, content_type, etag = found
    headers = {"ETag": f'"{etag}"', "Cache-Control": "public, max-age=300"}
    if elsewhere:
        headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    if request.headers.get("If-None-Match", "").strip().removeprefix("W/") == f'"{etag}"':
        return web.Response(status=304, headers=headers)
    answer = web.Response(body=content, content_type=content_type, charset="utf-8", headers=headers)
    answer.enable_compression()
    return answer


async def asset(request: web.Request) -> web.Response:
    """GET /assets/<name>."""
    return static(request, request.match_info["name"])


async def icon(request: web.Request) -> web.Response:
    """GET /favicon.ico: browsers ask for it on every page, of the API too."""
    return static(request, "icon.svg")
