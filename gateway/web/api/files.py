"""Files: what is known of an attachment, and its bytes. A browser never runs what a stranger sent."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

from aiohttp import web

from gateway.store.comments import get_attachment
from gateway.store.paging import Row
from gateway.web.api import shapes
from gateway.web.api.answers import answer, base_url, not_found
from gateway.web.api.envelopes import read_id
from gateway.web.keys import RUNTIME
from gateway.web.reading import read

# RFC 6838 section 4.2: what a media type may look like; anything else a sender declared is sent as plain bytes.
_MEDIA_TYPE: Final = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,126}/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}")
INERT: Final = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "private, no-store",
}


async def show_attachment(request: web.Request) -> web.Response:
    """GET attachments/{id}."""
    return answer({"attachment": shapes.attachment(await _find(request), base_url(request))})


async def download_attachment(request: web.Request) -> web.Response:
    """GET attachments/{id}/content/{name}: the bytes, as a file to save and never as a page to show."""
    row = await _find(request)
    body = await read_bytes(request, row)
    if body is None:
        raise not_found(missing_bytes(row))
    return download(body, row["filename"] or "attachment", row["content_type"])


def missing_bytes(row: Row) -> str:
    """Why there is nothing to download."""
    if row["source_url"]:
        return "The bytes are not here yet; the provider keeps them."
    return "The bytes of this file are no longer in the blob store."


async def read_bytes(
    request: web.Request, row: Mapping[str, object], inline: str = "content", blob: str = "blob"
) -> bytes | None:
    """Bytes kept in the row or, under their name, in the blob store; None when they are in neither."""
    content, name = row[inline], row[blob]
    if isinstance(content, bytes | memoryview):
        return bytes(content)
    if not isinstance(name, str):
        return None
    try:
        found: bytes = await request.app[RUNTIME].blobs.get(name)
    except KeyError:
        return None
    return found


def download(body: bytes, filename: str, content_type: str) -> web.Response:
    """A file to save under its own name."""
    kind = content_type.split(";", maxsplit=1)[0].strip().lower()
    response = web.Response(body=body, headers=INERT)
    response.headers["Content-Type"] = kind if _MEDIA_TYPE.fullmatch(kind) else "application/octet-stream"
    response.headers["Content-Disposition"] = disposition(filename)
    return response


def disposition(filename: str) -> str:
    """RFC 6266: an ASCII name for old clients and the real one in UTF-8. Nothing in it can end the header."""
    plain = "".join(sign if sign.isascii() and sign.isprintable() and sign not in '"\\%' else "_" for sign in filename)
    exact = quote(filename.encode("utf-8", "replace"), safe="")
    return f"attachment; filename=\"{plain[:200]}\"; filename*=UTF-8''{exact}"


async def _find(request: web.Request) -> Row:
    ident = read_id(request)
    row = await read(request, get_attachment, ident) if ident > 0 else None
    if row is None:
        raise not_found()
    return row
