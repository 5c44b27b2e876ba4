"""ISO-2022-JP as Windows writes it: with the signs of NEC's row 13 and half-width kana, which the standard leaves out.

Circled numbers, (株) in one cell and the like stand in much Japanese business mail; Python's codecs refuse them.
"""

from __future__ import annotations

import re
from typing import Final

_ESCAPE: Final = re.compile(rb"\x1b(\([BJI]|\$[@B]|\$\(D)")


def decode(data: bytes) -> str | None:
    """The text; None when there is a sequence that is not known. Linear, never raises."""
    pieces = _ESCAPE.split(data)
    if b"\x1b" in b"".join(pieces[::2]):
        return None
    out: list[str] = []
    for mode, chunk in zip([b"(B", *pieces[1::2]], pieces[::2], strict=True):
        text = _read(mode, chunk)
        if text is None:
            return None
        out.append(text)
    return "".join(out)


def _read(mode: bytes, chunk: bytes) -> str | None:
    try:
        if mode in (b"(B", b"(J"):
            return chunk.decode("ascii")
        if mode == b"(I":
            return bytes(octet | 0x80 for octet in chunk).decode("cp932")
        if mode == b"$(D":
            return (b"\x1b$(D" + chunk + b"\x1b(B").decode("iso2022_jp_ext")
        lines = chunk.split(b"\n")  # a line end also ends the two-octet mode in what some programs write
        return "\n".join(_shift(line.rstrip(b"\r")).decode("cp932") for line in lines)
    except ValueError:  # UnicodeError is one
        return None


def _shift(pairs: bytes) -> bytes:
    """JIS X 0208 by rows and cells -> Shift JIS, as in JIS X 0208:1997 annex 1."""
    out = bytearray()
    for row, cell in zip(pairs[::2], pairs[1::2], strict=False):
        lead = ((row - 0x21) >> 1) + 0x81
        out.append(lead if lead <= 0x9F else lead + 0x40)
        if row & 1:
            out.append(cell + (0x1F if cell < 0x60 else 0x20))
        else:
            out.append(cell + 0x7E)
    return bytes(out)
