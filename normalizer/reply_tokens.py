"""Signed ticket numbers for reply addresses, Message-IDs and bodies: a stranger can guess a number, not its signature.

`<ticket>.<key id>.<day>.<mac>`, all of it [a-z0-9.], so that it fits a plus tag and survives relays that change case.
The day is when it was made (days since 1970 in base 36); without one a token never ends. Keys are told apart by their
id: the newest signs, old ones stay readable until they are taken out.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Final, NamedTuple

_MAC_CHARS: Final = 16  # 80 bits of base32
_TOKEN: Final = re.compile(
    r"(?<![a-z0-9])([a-z0-9]{1,20})\.([a-z0-9]{1,8})\.(?:([a-z0-9]{1,4})\.)?([a-z2-7]{16})(?![a-z0-9])", re.IGNORECASE
)
_MARK: Final = re.compile(r"\[ref:([a-z0-9.]{20,60})\]", re.IGNORECASE)
_DIGITS: Final = "0123456789abcdefghijklmnopqrstuvwxyz"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC).date()
_MOST: Final = 8  # candidates that are checked


class ReplyToken(NamedTuple):
    """A token that one of our keys signed. `made`: on which day; None for one that never ends."""

    ticket: str
    made: date | None = None


def make_reply_token(ticket_id: str, key: bytes, key_id: str = "1", made: date | None = None) -> str:
    """`<ticket>.<key id>.<day>.<mac>`, at most 55 characters.

    Raises ValueError for a ticket or key id outside [a-z0-9].
    """
    ticket_id, key_id = ticket_id.lower(), key_id.lower()
    if not re.fullmatch(r"[a-z0-9]{1,20}", ticket_id) or not re.fullmatch(r"[a-z0-9]{1,8}", key_id):
        raise ValueError("a reply token carries ticket and key ids of lower-case letters and digits only")
    day = _written((made - _EPOCH).days) if made is not None else ""
    return ".".join(part for part in (ticket_id, key_id, day, _mac(ticket_id, key, key_id, day)) if part)


def find_reply_token(text: str, keys: Mapping[str, bytes]) -> ReplyToken | None:
    """The first token in `text` (a local part, address, message id) that one of our keys signed."""
    for number, match in enumerate(_TOKEN.finditer(text[:4_096])):
        if number >= _MOST:
            break
        ticket_id, key_id, day, mac = ((group or "").lower() for group in match.groups())
        # `x.84.1.<mac>` may be a token without a day behind a word of somebody else's.
        for parts in ((ticket_id, key_id, day), (key_id, day, "")) if day else ((ticket_id, key_id, ""),):
            if _is_ours(*parts, mac, keys):
                return ReplyToken(parts[0], _EPOCH + timedelta(days=int(parts[2], 36)) if parts[2] else None)
    return None


def body_mark(token: str) -> str:
    """What stands in the text of a mail of ours, for answers that lost their header: `[ref:<token>]`."""
    return f"[ref:{token}]"


def marks_in(text: str) -> Iterator[str]:
    """The tokens of the first marks in a text, not checked yet. Linear."""
    for number, match in enumerate(_MARK.finditer(text[:262_144])):
        if number >= _MOST:
            return
        yield match.group(1)


def _is_ours(ticket_id: str, key_id: str, day: str, mac: str, keys: Mapping[str, bytes]) -> bool:
    key = keys.get(key_id)
    expected = _mac(ticket_id, key if key is not None else b"no such key", key_id, day)
    return hmac.compare_digest(expected, mac) and key is not None


def _written(day: int) -> str:
    digits = ""
    while day > 0:
        day, rest = divmod(day, 36)
        digits = _DIGITS[rest] + digits
    return digits or "0"


def _mac(ticket_id: str, key: bytes, key_id: str, day: str = "") -> str:
    said = f"frontdesk reply {key_id} {ticket_id} {day}".rstrip()
    state = hmac.new(key, said.encode(), hashlib.sha256)
    return base64.b32encode(state.digest()[:10]).decode("ascii").lower()
