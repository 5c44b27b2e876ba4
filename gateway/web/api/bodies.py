"""What a program writes to us: a JSON object, read with limits, taken field by field. Every fault names its field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web
from pydantic_core import from_json

from gateway.store.paging import MAX_ID
from gateway.web.api.answers import ApiError, bad_request, caller_of, unprocessable
from gateway.web.limits import read_body
from normalizer.message import clean_json

LARGEST_BODY: Final = 1024 * 1024  # bytes
_MOST_IDS: Final = 100


async def read_object(request: web.Request, name: str = "") -> dict[str, Any]:
    """The JSON object in the body, or the one under `name` in it. Raises `ApiError` 400, `Refused` 413 and the like."""
    body = await read_body(request, LARGEST_BODY)
    if not body.strip():
        raise _malformed(name)
    try:
        said = clean_json(from_json(body, allow_inf_nan=False))
    except (ValueError, RecursionError):
        raise _malformed(name) from None
    inner = said.get(name) if name and isinstance(said, dict) else said
    if not isinstance(inner, dict):
        raise _malformed(name)
    return inner


def take_id(said: Mapping[str, Any], name: str, *also: str) -> int:
    """A ticket's, comment's or user's number under one of the names. Raises `ApiError` 422."""
    value = next((said[key] for key in (name, *also) if key in said), None)
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 20:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= MAX_ID:
        raise unprocessable(name, f"{name} is the number of one, such as 17")
    return value


def take_ids(said: Mapping[str, Any], name: str) -> list[int]:
    """Several numbers. Raises `ApiError` 422."""
    values = said.get(name)
    if not isinstance(values, list) or not 0 < len(values) <= _MOST_IDS:
        raise unprocessable(name, f"{name} is a list of 1 to {_MOST_IDS} numbers, such as [17, 18]")
    return [take_id({name: value}, name) for value in values]


def take_text(said: Mapping[str, Any], name: str, longest: int, default: str | None = None) -> str | None:
    """A text, trimmed; `default` when it is absent or null. Raises `ApiError` 422."""
    value = said.get(name)
    if value is None:
        return default
    if not isinstance(value, str) or len(value) > longest:
        raise unprocessable(name, f"{name} is a text of at most {longest} characters")
    return value.strip()


def take_flag(said: Mapping[str, Any], name: str, *, default: bool) -> bool:
    """True or false. Raises `ApiError` 422."""
    value = said.get(name, default)
    if not isinstance(value, bool):
        raise unprocessable(name, f"{name} is true or false")
    return value


def actor_of(request: web.Request) -> str:
    """Who is said to have done it: the address the caller claims, or the token."""
    return caller_of(request).email[:200] or "an API token"


def _malformed(name: str) -> ApiError:
    example = f'{{"{name}": {{...}}}}' if name else "an object"
    return bad_request("InvalidBody", f"The body has to be JSON: {example}.")
