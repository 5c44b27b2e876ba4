"""What the console serves beside its pages: its own style and script, attachments, originals, and mail as it was sent.

Everything a stranger wrote is either a download that no browser opens as a page, a picture or sound whose first bytes
say so, or sanitised HTML in a document without scripts, network or access to ours.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import html as entities
import re
from functools import cache
from typing import Final
from urllib.parse import unquote

from aiohttp import web

from gateway.store.comments import get_attachment, get_comment, get_comment_original
from gateway.store.paging import Row
from gateway.store.suspended import get_dead_letter, get_suspended
from gateway.web.api.files import INERT, download, read_bytes
from gateway.web.console.rendering import HEADERS, HERE
from gateway.web.reading import read
from normalizer.markup import sanitise

_TYPES: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_PICTURES: Final = ((b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"), (b"GIF8", "image/gif"))
_SOUNDS: Final = (
    (b"ID3", "audio/mpeg"),
    (b"\xff\xfb", "audio/mpeg"),
    (b"\xff\xf3", "audio/mpeg"),
    (b"OggS", "audio/ogg"),
)
_MOST_TEXT: Final = 4_000_000  # bytes of an original shown as text; the download has all of it
_MOST_INLINE: Final = 4_000_000  # bytes of pictures inside one mail
_CID: Final = re.compile(r'\ssrc="cid:([^"]{1,300})"')
_MAIL_CSP: Final = (
    "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; img-src data:; "
    "style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
_MAIL: Final = (
    '<!doctype html><meta charset="utf-8"><meta name="color-scheme" content="light"><style>'
    "body{{margin:12px;font:14px/1.5 system-ui,sans-serif;color:#1d2021;background:#fff;overflow-wrap:anywhere}}"
    "img{{max-width:100%;height:auto}}</style>{}"
)


def media_type(content: bytes) -> str:
    """The type of a picture or sound a browser may show in place, by its first bytes; empty for everything else."""
    for magic, kind in (*_PICTURES, *_SOUNDS):
        if content.startswith(magic):
            return kind
    if content[:4] == b"RIFF":
        return {b"WEBP": "image/webp", b"WAVE": "audio/wav"}.get(content[8:12], "")
    return ""


async def show_static(request: web.Request) -> web.Response:
    """GET console/static/{name}: style, script, icon."""
    found = _static().get(request.match_info["name"])
    if found is None:
        raise web.HTTPNotFound
    content, kind, tag = found
    headers = {**HEADERS, "ETag": tag, "Cache-Control": "no-cache"}
    if request.headers.get("If-None-Match", "").removeprefix("W/") == tag:
        return web.Response(status=304, headers=headers)
    response = web.Response(body=content, content_type=kind, charset="utf-8", headers=headers)
    response.enable_compression()
    return response


async def show_html(request: web.Request) -> web.Response:
    """GET console/comments/{id}/html: the mail as it was sent, made safe, for a sandboxed frame."""
    row = await read(request, get_comment, int(request.match_info["id"]))
    if row is None or not row["html"]:
        raise web.HTTPNotFound
    safe = await asyncio.to_thread(sanitise, row["html"])
    safe = await _with_pictures(request, safe, row["attachments"])
    headers = {**INERT, "Content-Security-Policy": _MAIL_CSP}
    return web.Response(text=_MAIL.format(safe), content_type="text/html", headers=headers)


async def show_text(request: web.Request) -> web.Response:
    """GET console/comments/{id}/text: everything the message said, as plain text."""
    row = await read(request, get_comment, int(request.match_info["id"]))
    if row is None:
        raise web.HTTPNotFound
    return web.Response(text=row["full_text"] or row["text"], content_type="text/plain", headers=INERT)


async def download_original(request: web.Request) -> web.Response:
    """GET console/comments/{id}/original: byte for byte what arrived."""
    row = await read(request, get_comment_original, int(request.match_info["id"]))
    return await _download_original(request, row, "message")


async def download_suspended_original(request: web.Request) -> web.Response:
    """GET console/suspended/{id}/original: byte for byte what arrived."""
    row = await read(request, get_suspended, int(request.match_info["id"]))
    return await _download_original(request, row, "suspended")


async def show_suspended_text(request: web.Request) -> web.Response:
    """GET console/suspended/{id}/text: what arrived, as plain text that no browser takes for anything else."""
    row = await read(request, get_suspended, int(request.match_info["id"]))
    body = await read_bytes(request, row, "original", "original_blob") if row else None
    if body is None:
        raise web.HTTPNotFound
    text = body[:_MOST_TEXT].decode("utf-8", "replace").replace("\x00", "\N{REPLACEMENT CHARACTER}")
    return web.Response(text=text, content_type="text/plain", headers=INERT)


async def download_dead_letter(request: web.Request) -> web.Response:
    """GET console/dead/{id}/body: the queue message as it died."""
    row = await read(request, get_dead_letter, int(request.match_info["id"]))
    if row is None:
        raise web.HTTPNotFound
    return download(bytes(row["body"]), f"dead-{row['id']}.json", "application/json")


async def download_attachment(request: web.Request) -> web.Response:
    """GET console/attachments/{id}/{name}: a file to save."""
    row, body = await _attachment(request)
    return download(body, row["filename"] or "attachment", row["content_type"])


async def preview_attachment(request: web.Request) -> web.Response:
    """GET console/attachments/{id}/preview: a picture or sound, under the type its bytes have."""
    _, body = await _attachment(request)
    kind = media_type(body)
    if not kind:
        raise web.HTTPNotFound
    return web.Response(body=body, content_type=kind, headers={**INERT, "Cache-Control": "private, max-age=3600"})


async def _attachment(request: web.Request) -> tuple[Row, bytes]:
    row = await read(request, get_attachment, int(request.match_info["id"]))
    body = await read_bytes(request, row) if row else None
    if row is None or body is None:
        raise web.HTTPNotFound
    return row, body


async def _download_original(request: web.Request, row: Row | None, name: str) -> web.Response:
    body = await read_bytes(request, row, "original", "original_blob") if row else None
    if row is None or body is None:
        raise web.HTTPNotFound
    ending = "eml" if row["original_type"] == "message/rfc822" else "bin"
    return download(body, f"{name}-{row['id']}.{ending}", row["original_type"])


async def _with_pictures(request: web.Request, safe: str, files: list[Row]) -> str:
    """Put the mail's own pictures into it as data, because its frame may fetch nothing, not even from us."""
    known = {file["content_id"].strip("<>"): file["id"] for file in files if file["content_id"]}
    wanted = {_content_id(match[1]) for match in _CID.finditer(safe)}
    pictures: dict[str, str] = {}
    room = _MOST_INLINE
    for name in sorted(wanted & known.keys()):
        row = await read(request, get_attachment, known[name])
        if row is None or row["size"] > room:
            continue
        body = await read_bytes(request, row) or b""
        kind = media_type(body)
        if kind.startswith("image/"):
            room -= len(body)
            pictures[name] = f' src="data:{kind};base64,{base64.b64encode(body).decode()}"'
    return _CID.sub(lambda match: pictures.get(_content_id(match[1]), ""), safe)


def _content_id(value: str) -> str:
    return unquote(entities.unescape(value))


@cache
def _static() -> dict[str, tuple[bytes, str, str]]:
    """(content, type, entity tag) by name; read once."""
    found = {}
    for path in (HERE / "static").iterdir():
        if path.suffix in _TYPES:
            content = path.read_bytes()
            found[path.name] = (content, _TYPES[path.suffix], f'"{hashlib.sha256(content).hexdigest()[:16]}"')
    return found
