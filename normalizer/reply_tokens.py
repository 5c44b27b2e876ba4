"""Signed ticket numbers for reply addresses and Message-IDs: a stranger can guess a number, not its signature."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping
from typing import Final

_MAC_CHARS: Final = 16  # 80 bits of base32
_TOKEN: Final = re.compile(r"(?<![a-z0-9])([a-z0-9]{1,20})\.([a-z0-9]{1,8})\.([a-z2-7]{16})(?![a-z0-9])", re.IGNORECASE)


def make_reply_token(ticket_id: str, key: bytes, key_id: str = "1") -> str:
    """`<ticket>.<key id>.<mac>` in [a-z0-9.], at most 50 characters, so that it fits a plus tag and survives relays.

    Raises ValueError for a ticket or key id outside [a-z0-9].
    """
    ticket_id, key_id = ticket_id.lower(), key_id.lower()
    if not re.fullmatch(r"[a-z0-9]{1,20}", ticket_id) or not re.fullmatch(r"[a-z0-9]{1,8}", key_id):
        raise ValueError("a reply token carries ticket and key ids of lower-case letters and digits only")
    return f"{ticket_id}.{key_id}.{_mac(ticket_id, key, key_id)}"


def read_reply_token(text: str, keys: Mapping[str, bytes]) -> str | None:
    """The ticket id of the first token in `text` (a local part, address, message id) that one of our keys signed."""
    for number, match in enumerate(_TOKEN.finditer(text[:4_096])):
        if number >= 8:
            break
        ticket_id, key_id, mac = (group.lower() for group in match.groups())
        key = keys.get(key_id)
        expected = _mac(ticket_id, key if key is not None else b"no such key", key_id)
        if hmac.compare_digest(expected, mac) and key is not None:
            return ticket_id
    return None


def _mac(ticket_id: str, key: bytes, key_id: str) -> str:
    state = hmac.new(key, f"frontdesk reply {key_id} {ticket_id}".encode(), hashlib.sha256)
    return base64.b32encode(state.digest()[:10]).decode("ascii").lower()
