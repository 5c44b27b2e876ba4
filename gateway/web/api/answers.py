"""How the API answers: JSON, errors in Zendesk's words, rate-limit headers on everything, and who may ask at all."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from aiohttp import web
from pydantic_core import to_json

from adapters.base import Refused
from gateway.store.engine import is_transient, why
from gateway.store.journal import CorrectionError
from gateway.store.paging import BadCursorError
from gateway.store.search import SearchError
from gateway.web.auth import Caller, find_caller
from gateway.web.keys import RUNTIME

RATE_LIMIT: Final = 100_000  # requests a minute and token: a runaway loop is stopped, an eager poller is not
_WINDOW: Final = 60  # seconds
_CALLER: Final = web.RequestKey("caller", Caller)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
log: Final = logging.getLogger(__name__)


class ApiError(Exception):
    """An answer other than 200, with its body."""

    def __init__(self, status: int, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status)
        self.status, self.body, self.headers = status, body, headers or {}


def not_found(description: str = "Not found") -> ApiError:
    """Zendesk's 404; its clients look at `error`."""
    return ApiError(404, {"error": "RecordNotFound", "description": description})


def bad_request(error: str, description: str) -> ApiError:
    """400 with a sentence that says what to write instead."""
    return ApiError(400, {"error": error, "description": description})


def unprocessable(field: str, description: str) -> ApiError:
    """Zendesk's 422: which field, and what is wrong with it."""
    details = {field: [{"description": description, "error": "InvalidValue"}]}
    body = {"error": "RecordInvalid", "description": "Record validation errors", "details": details}
    return ApiError(422, body)


def not_now(description: str) -> ApiError:
    """409: it made sense once, but something has happened since."""
    return ApiError(409, {"error": "Conflict", "description": description})


def not_allowed(method: str, allowed: str = "GET, HEAD") -> ApiError:
    """405 with what the address does take."""
    sentence = f"This address answers {allowed}, not {method[:20]}."
    return ApiError(405, {"error": "MethodNotAllowed", "description": sentence}, {"Allow": allowed})


def refusal(error: CorrectionError) -> ApiError:
    """A correction that cannot be made, in Zendesk's words; the sentence is for the person who asked."""
    sentence = f"{str(error)[:1].upper()}{str(error)[1:]}."
    if error.kind == "missing":
        return not_found(sentence)
    return not_now(sentence) if error.kind == "conflict" else unprocessable(error.field, sentence)


def answer(body: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """A JSON answer that no cache keeps."""
    response = web.Response(body=to_json(body), status=status, content_type="application/json", charset="utf-8")
    response.headers.update({"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", **(headers or {})})
    return response


def base_url(request: web.Request) -> str:
    """The public address from the settings, never from the Host header: links in answers cannot be poisoned."""
    base: str = request.app[RUNTIME].settings.base_url
    return base


def caller_of(request: web.Request) -> Caller:
    """Who asks."""
    return request[_CALLER]


class Window:
    """Requests by token in the current minute."""

    def __init__(self, limit: int = RATE_LIMIT, clock: Callable[[], float] = time.time) -> None:
        self.limit = limit
        self._clock = clock
        self._minute = 0
        self._counts: dict[bytes, int] = {}

    def count(self, key: bytes | None) -> dict[str, str]:
        """Count one request and give the headers that say what is left. Raises `ApiError` 429."""
        now = self._clock()
        if int(now // _WINDOW) != self._minute:
            self._minute, self._counts = int(now // _WINDOW), {}
        used = 0
        if key is not None:
            used = self._counts[key] = self._counts.get(key, 0) + 1
        reset = max(1, _WINDOW - int(now % _WINDOW))
        headers = self._headers(used, reset)
        if used > self.limit:
            sentence = f"More than {self.limit} requests in a minute with this token; go on in {reset} seconds."
            body = {"error": "APIRateLimitExceeded", "description": sentence}
            raise ApiError(429, body, {**headers, "Retry-After": str(reset)})
        return headers

    def _headers(self, used: int, reset: int) -> dict[str, str]:
        limit, remaining = str(self.limit), str(max(0, self.limit - used))
        return {
            "X-Rate-Limit": limit,
            "X-Rate-Limit-Remaining": remaining,
            "ratelimit-limit": limit,
            "ratelimit-remaining": remaining,
            "ratelimit-reset": str(reset),
        }


def guarded(handler: Handler, window: Window) -> Handler:
    """The handler behind the token check and the rate limit, with every error as JSON."""

    @functools.wraps(handler)
    async def guard(request: web.Request) -> web.StreamResponse:
        headers: dict[str, str] = {}
        try:
            caller = _authenticate(request)
            headers = window.count(caller.key if caller else None)
            response = await _call(handler, request, caller)
        except ApiError as error:
            response = answer(error.body, error.status, error.headers)
        except CorrectionError as error:
            refused = refusal(error)
            response = answer(refused.body, refused.status)
        except Refused as error:  # a body that is too large, too slow or cut short
            response = answer({"error": "InvalidBody", "description": str(error)}, error.status, error.headers)
        except BadCursorError as error:
            response = answer(bad_request("InvalidPaginationParameter", str(error)).body, 400)
        except SearchError as error:
            response = answer(bad_request("InvalidSearch", str(error)).body, 400)
        except Exception as error:
            if not is_transient(error):
                raise
            log.warning("API: the database does not answer: %s", why(error), extra={"path": request.path})
            sentence = "The database does not answer at the moment; nothing is lost. Try again shortly."
            response = answer({"error": "ServiceUnavailable", "description": sentence}, 503, {"Retry-After": "5"})
        response.headers.update({name: value for name, value in headers.items() if name not in response.headers})
        return response

    return guard


async def _call(handler: Handler, request: web.Request, caller: Caller | None) -> web.StreamResponse:
    if caller is None:
        raise _unauthenticated(request)
    request[_CALLER] = caller
    return await handler(request)


def _authenticate(request: web.Request) -> Caller | None:
    return find_caller(request.headers.get("Authorization", ""), request.app[RUNTIME].settings.api_tokens)


def _unauthenticated(request: web.Request) -> ApiError:
    body = {"error": "Couldn't authenticate you"}
    if not request.app[RUNTIME].settings.api_tokens:
        body["description"] = "No API token is configured: set FRONTDESK_API_TOKENS to one you choose."
    return ApiError(401, body, {"WWW-Authenticate": 'Basic realm="Web Password"'})
