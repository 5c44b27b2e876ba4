"""Every refusal as one sentence, in the format asked for, and every answer with the headers that protect its reader.

An exception nobody expected is logged with an id, and the id is all the sender hears of it.
"""

from __future__ import annotations

import http
import json
import logging
import math
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler

from adapters.base import Refused
from gateway.ids import uuid7
from gateway.intake import NotDurableError
from gateway.web.keys import RUNTIME
from gateway.web.pages import page

log: Final = logging.getLogger(__name__)

CSP: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_ALWAYS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "strict-origin-when-cross-origin",
}
_JSON: Final = re.compile(r"application/json|[\w.-]+/[\w.+-]*\+json", re.ASCII)
_SENTENCES: Final = {
    404: "There is nothing at this address.",
    405: "This address does not take this method.",
    413: "That is too large.",
}


async def protect(request: web.Request, response: web.StreamResponse) -> None:
    """Signal `on_response_prepare`: security headers; a handler's own value is left as it is."""
    for name, value in _ALWAYS.items():
        response.headers.setdefault(name, value)
    if response.content_type == "text/html":
        response.headers.setdefault("Content-Security-Policy", CSP)
    if "Server" in response.headers:
        response.headers["Server"] = "Frontdesk"


@web.middleware
async def explain(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Outermost middleware: errors become answers."""
    try:
        return await handler(request)
    except Refused as refusal:
        return refuse(request, refusal.status, str(refusal), refusal.headers)
    except NotDurableError as error:
        return refuse(request, 503, "Nothing can be stored right now; please send it again.", retry_after(error))
    except web.HTTPException as error:
        if error.status < 400 or (error.text and error.text != f"{error.status}: {error.reason}"):
            raise
        kept = {name: value for name, value in error.headers.items() if name in ("Allow", "WWW-Authenticate")}
        return refuse(request, error.status, _SENTENCES.get(error.status, f"{error.reason}."), kept)
    except (ConnectionError, TimeoutError) as error:
        if request.transport is None:  # nobody is left to hear an answer
            raise web.HTTPBadRequest(text="The connection was lost.") from error
        return _unexpected(request)
    except Exception:
        return _unexpected(request)


def retry_after(error: NotDurableError) -> dict[str, str]:
    """Retry-After in whole seconds, at least one."""
    return {"Retry-After": str(max(1, math.ceil(error.retry_after)))}


def refuse(
    request: web.Request, status: int, sentence: str, headers: Mapping[str, str] | None = None, *, ident: str = ""
) -> web.Response:
    """The sentence as a page for a browser, as JSON for everything else."""
    if wants_html(request):
        title = next((known.phrase for known in http.HTTPStatus if known == status), "Error")
        values = {"status": status, "title": title, "sentence": sentence, "ident": ident, "prefix": prefix(request)}
        answer = page("error.html", values, status)
    else:
        body = {"error": sentence} | ({"id": ident} if ident else {})
        answer = web.json_response(body, status=status)
    answer.headers.update(headers or {})
    if answer.headers.get("Connection", "").lower() == "close":
        answer.force_close()
    return answer


def prefix(request: web.Request) -> str:
    """The path under which a proxy publishes us, as configured in `public_url`; mostly empty."""
    runtime = request.app.get(RUNTIME)
    return urlsplit(runtime.settings.base_url).path if runtime else ""


def wants_html(request: web.BaseRequest) -> bool:
    """Whether a person looks at the answer: the first type the client names is HTML."""
    accept = request.headers.get("Accept", "")[:500].lower()
    html, api = accept.find("text/html"), accept.find("application/json")
    return html >= 0 and (api < 0 or html < api)


def is_json(request: web.BaseRequest) -> bool:
    """Whether a body is declared as JSON. Read here: aiohttp asks `email`, which takes 0.3 ms for each new boundary."""
    return _JSON.fullmatch(request.headers.get("Content-Type", "").partition(";")[0].strip().lower()) is not None


def _unexpected(request: web.Request) -> web.Response:
    ident = str(uuid7())
    # The path and not the query: queries carry tokens and addresses.
    log.exception("unexpected error %s while answering %s %s", ident, request.method, json.dumps(request.path[:200]))
    return refuse(request, 500, "Something went wrong here; it has been noted under this id.", ident=ident)
