"""An arrival put by, so that it can be read again later: what its transport knew, beside its original bytes.

Kept with what is held for a person, never shown, and without headers that could prove anything to anybody.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from multidict import CIMultiDict, CIMultiDictProxy, MultiDict, MultiDictProxy
from yarl import URL

from adapters.base import InboundRequest, Raw

_HEADERS: Final = ("Content-Type", "User-Agent", "Idempotency-Key")  # those adapters read
_LONGEST: Final = 4_096  # characters of a header


def put_by(facts: Mapping[str, Any], request: InboundRequest | None) -> dict[str, Any]:
    """What to keep of an arrival beside its bytes."""
    kept: dict[str, Any] = {"facts": dict(facts)}
    if request is not None:
        kept["request"] = {
            "method": request.method,
            "tail": request.tail,
            "url": request.url,
            "remote": request.remote,
            "headers": {name: request.headers[name][:_LONGEST] for name in _HEADERS if name in request.headers},
        }
    return kept


def take_up(kept: Mapping[str, Any], body: bytes, content_type: str) -> Raw:
    """The arrival again. Its sender was checked when it came; the request carries nothing to check it by."""
    facts, request = kept.get("facts"), kept.get("request")
    told = request if isinstance(request, dict) else None
    return Raw(
        body,
        content_type,
        facts if isinstance(facts, dict) else {},
        request=_request(told, body) if told is not None else None,
    )


def _request(told: Mapping[str, Any], body: bytes) -> InboundRequest:
    url = str(told.get("url", ""))
    query = MultiDict(URL.build(query_string=urlsplit(url).query, encoded=True).query)
    headers = told.get("headers")
    return InboundRequest(
        method=str(told.get("method", "POST")),
        tail=str(told.get("tail", "")),
        url=url,
        query=MultiDictProxy(query),
        headers=CIMultiDictProxy(CIMultiDict(headers if isinstance(headers, dict) else {})),
        body=body,
        remote=str(told.get("remote", "")),
    )
