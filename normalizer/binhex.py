"""BinHex 4.0 (`application/mac-binhex40`), which old Macintosh mail sends: the file inside. RFC 1741."""

from __future__ import annotations

import binascii
from typing import Final, NamedTuple

_ALPHABET: Final = b"!\"#$%&'()*+,-012345689@ABCDEFGHIJKLMNPQRSTUVXYZ[`abcdefhijklmpqr"
_TO_BASE64: Final = bytes.maketrans(_ALPHABET, b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
_NOISE: Final = bytes(set(range(256)) - set(_ALPHABET))
_REPEAT: Final = b"\x90"
MAX_GROWTH: Final = 20  # run lengths can make 255 octets of three; no real file grows that far


class Inside(NamedTuple):
    """The data fork of a file, and its name."""

    name: str
    content: bytes


def read(data: bytes) -> Inside | None:
    """The file, or None when this is no BinHex, is damaged, or grows without reason. Never raises; linear."""
    begin = data.find(b":")
    end = data.find(b":", begin + 1)
    if begin < 0 or end < 0:
        return None
    packed = data[begin + 1 : end].translate(_TO_BASE64, _NOISE)
    try:
        plain = _expand(binascii.a2b_base64(packed[: len(packed) - (len(packed) % 4 == 1)] + b"=="), len(data))
    except (binascii.Error, ValueError):
        return None
    size = plain[0] if plain else 0
    header = plain[1 : 1 + size + 19]  # name, version, type, creator, flags, two lengths
    if not 0 < size < 64 or len(header) < size + 19:
        return None
    length = int.from_bytes(header[size + 11 : size + 15], "big")
    start = 1 + size + 19 + 2  # a checksum follows
    if start + length > len(plain):
        return None
    return Inside(header[:size].decode("mac_roman"), plain[start : start + length])


def _expand(data: bytes, packed_size: int) -> bytes:
    """Run lengths undone: `x 90 n` is n times x, `90 00` is a 90 that is meant."""
    out: list[bytes] = []
    room = packed_size * MAX_GROWTH
    last = b""
    position = 0
    while (mark := data.find(_REPEAT, position)) >= 0:
        literal = data[position:mark]
        last = literal[-1:] or last
        count = data[mark + 1] if mark + 1 < len(data) else 0
        if count == 0:
            last = piece = _REPEAT
        else:
            piece = last * (count - 1)
        out += (literal, piece)
        room -= len(piece)
        if room < 0:
            raise ValueError("more repetition than any file has")
        position = mark + 2
    out.append(data[position:])
    return b"".join(out)
