"""Writing: what the company's systems say about customers, and who is the same person as whom.

    PUT  users/{id}               {"user": {"name", "locale", "user_fields", "email", "phone", "external_id"}}
    POST users/create_or_update   the same; found by external_id, email or phone, else made (201)
    PUT  users/{id}/merge         {"user": {"id": 3}}: user {id} becomes part of user 3, as at Zendesk
    POST users/{id}/unmerge       undoes it (ours); `events/{id}/undo` does too
    POST suggestions/{id}/join, suggestions/{id}/decline    a person decides (ours)

Source: Zendesk developer docs, Users. `user_fields` are added to those known; null removes one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from aiohttp import web
from sqlalchemy import Connection

from gateway.store import claims, joining, profiles
from gateway.store.journal import Done, by_hand
from gateway.store.people import Ours, own_addresses
from gateway.store.profiles import Profile
from gateway.store.undoing import undo
from gateway.web.api import shapes
from gateway.web.api.answers import answer, base_url, not_found, unprocessable
from gateway.web.api.bodies import actor_of, read_object, take_flag, take_id, take_text
from gateway.web.api.envelopes import read_id
from gateway.web.api.users import find_user
from gateway.web.keys import RUNTIME
from gateway.web.reading import write
from normalizer.addresses import canonical_email, email_shaped
from normalizer.phone_numbers import canonical_phone

_LONGEST_NAME: Final = 300  # characters
_LONGEST_KEY: Final = 100
_LONGEST_VALUE: Final = 5_000
_LOCALE: Final = re.compile(r"[A-Za-z]{2,8}(?:-[A-Za-z0-9]{1,8}){0,3}")  # RFC 5646, without its rarer parts


async def update_user(request: web.Request) -> web.Response:
    """PUT users/{id}."""
    ident, profile = read_id(request), _profile(await read_object(request, "user"))
    if ident in (shapes.NOBODY_ID, shapes.CALLER_ID):
        raise not_found()
    await write(request, profiles.update_customer, ident, profile, ours=_ours(request), **_by(request))
    return await _answer_user(request, ident)


async def create_or_update(request: web.Request) -> web.Response:
    """POST users/create_or_update."""
    profile = _profile(await read_object(request, "user"))
    ident, new = await write(request, profiles.create_or_update, profile, ours=_ours(request), **_by(request))
    return await _answer_user(request, ident, status=201 if new else 200)


async def merge_users(request: web.Request) -> web.Response:
    """PUT users/{id}/merge: this user becomes part of the one in the body, who is the answer."""
    source, target = read_id(request), take_id(await read_object(request, "user"), "id")
    done = await write(request, _join, source, target, **_by(request))
    return await _answer_user(request, target, event_id=done.event_id)


async def unmerge_user(request: web.Request) -> web.Response:
    """POST users/{id}/unmerge: this user stands alone again."""
    done = await write(request, _part, read_id(request), **_by(request))
    return await _answer_user(request, done.customer_id or 0, event_id=done.event_id)


async def join_suggested(request: web.Request) -> web.Response:
    """POST suggestions/{id}/join: yes, the same person. Answers the user they are now."""
    done = await write(request, claims.decide, read_id(request), same=True, **_by(request))
    return await _answer_user(request, done.customer_id or 0 if done else 0, event_id=done.event_id if done else None)


async def decline_suggested(request: web.Request) -> web.Response:
    """POST suggestions/{id}/decline: no; it is not shown again."""
    ident = read_id(request)
    await write(request, claims.decide, ident, same=False, **_by(request))
    return answer({"suggestion": {"id": ident, "state": "declined"}})


def _join(conn: Connection, source: int, target: int, *, actor: str, now: datetime) -> Done:
    return joining.join(by_hand(conn, actor, now), source, target, f"{actor} says they are one person")


def _part(conn: Connection, customer: int, *, actor: str, now: datetime) -> Done:
    return undo(conn, joining.last_join_of(conn, customer), actor=actor, now=now)


async def _answer_user(
    request: web.Request, ident: int, *, status: int = 200, event_id: int | None = None
) -> web.Response:
    user = shapes.user(await find_user(request, ident), base_url(request))
    return answer({"user": user} if event_id is None else {"user": user, "event_id": event_id}, status)


def _profile(said: Mapping[str, Any]) -> Profile:
    email = take_text(said, "email", 254)
    if email and not email_shaped(email):
        raise unprocessable("email", "email is an address such as ann@example.org")
    phone = take_text(said, "phone", 40)
    number = canonical_phone(phone) if phone else None
    if phone and number is None:
        raise unprocessable("phone", "phone is a number with its country code, such as +31612345678")
    locale = take_text(said, "locale", 35)
    if locale and not _LOCALE.fullmatch(locale):
        raise unprocessable("locale", "locale is a language such as nl or zh-TW")
    return Profile(
        name=take_text(said, "name", _LONGEST_NAME),
        language=locale,
        attributes=_fields(said.get("user_fields")),
        email=canonical_email(email) if email else None,
        phone=number,
        external_id=_external_id(said),
        verified=take_flag(said, "verified", default=False),
    )


def _external_id(said: Mapping[str, Any]) -> str | None:
    value = said.get("external_id")
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    return take_text({"external_id": value}, "external_id", 255) or None


def _fields(said: Any) -> dict[str, Any]:
    """Flat facts: text, numbers, true and false, lists of these, null to remove one."""
    if said is None:
        return {}
    if not isinstance(said, dict):
        raise unprocessable("user_fields", "user_fields is an object of names and values")
    for name, value in said.items():
        if not 0 < len(name) <= _LONGEST_KEY:
            raise unprocessable("user_fields", f"the name of a field has 1 to {_LONGEST_KEY} characters")
        if not all(_is_plain(item) for item in (value if isinstance(value, list) else [value])):
            sentence = (
                f"{name} is a text of at most {_LONGEST_VALUE} characters, a number, true, false or a list of these"
            )
            raise unprocessable("user_fields", sentence)
    return said


def _is_plain(value: Any) -> bool:
    return (
        value is None
        or isinstance(value, bool | int | float)
        or (isinstance(value, str) and len(value) <= _LONGEST_VALUE)
    )


def _ours(request: web.Request) -> Ours:
    inboxes = getattr(request.app[RUNTIME], "inboxes", {})
    return own_addresses(inbox.options for inbox in inboxes.values())


def _by(request: web.Request) -> dict[str, Any]:
    return {"actor": actor_of(request), "now": datetime.now(UTC)}
