"""Content-Transfer-Encoding undone, leniently: base64, quoted-printable and uuencode as real software damages them."""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable
from typing import Final

from normalizer import headers


def undo_encoding(whole: bytes, start: int, end: int, encoding: str, problem: Callable[[str, str], None]) -> bytes:
    """Content-Transfer-Encoding of `whole[start:end]` undone leniently (RFC 2045 section 6). Unknown ones are taken as
    they are."""
    if encoding in ("base64", "base-64", "b64"):
        padding = whole.find(b"=", start, end)
        if padding >= 0 and whole[padding:end].strip(b"=\r\n \t"):
            problem("mime_ambiguous", "base64 goes on behind its padding; some readers stop there, we read on")
        return headers.decode_base64(whole, start, end)
    data = whole[start:end]
    if encoding in ("", "7bit", "8bit", "binary", "7-bit", "8-bit", "none"):
        return data
    if encoding in ("quoted-printable", "quotedprintable", "qp"):
        if b"= " in data or b"=\t" in data:
            data = _PADDED_BREAK.sub(b"=", data)
        return binascii.a2b_qp(data)
    if encoding in ("x-uuencode", "uuencode", "x-uue", "uue"):
        return decode_uu(data)
    problem("encoding_unknown", f"transfer encoding {encoding[:40]!r} is unknown; the bytes are as they came")
    return data


_BASE64_OCTETS: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=\r\n"
_BASE64_LINE: Final = re.compile(rb"^[A-Za-z0-9+/]{60,}={0,2}[ \t\r]*$", re.MULTILINE)


def plain_tail(data: bytes, start: int, end: int) -> int:
    """Where a base64 text ends and a footer begins that a list or a scanner wrote below it as it is; `end`: nowhere.

    Read as base64 the footer would be garbage, and in most charsets all of the text with it.
    """
    if not data[start:end].translate(None, _BASE64_OCTETS).strip():
        return end
    position = start
    for line in data[start:end].split(b"\n"):
        bare = line.strip()
        foreign = len(bare.translate(None, _BASE64_OCTETS))
        if foreign:
            # One damaged octet is no footer, and below a footer there is no base64.
            found = foreign > 1 and foreign * 10 >= len(bare) and not _BASE64_LINE.search(data, position, end)
            return position if found and position > start else end
        position += len(line) + 1
    return end


# White space that a relay put behind a soft line break, RFC 2045 section 6.7 rule 3.
_PADDED_BREAK: Final = re.compile(rb"=[ \t]++(?=\r?\n)")


def decode_uu(data: bytes) -> bytes:
    """The body of a `begin 644 name` ... `end` block; lines that are damaged are read as far as they go."""
    out: list[bytes] = []
    started = False
    for line in data.replace(b"\r\n", b"\n").split(b"\n"):
        if not started:
            started = line.startswith(b"begin ")
            continue
        if line == b"end":
            break
        try:
            out.append(binascii.a2b_uu(line))
        except binascii.Error:
            length = (((line[0] - 32) & 63) * 4 + 5) // 3 if line else 0
            try:
                out.append(binascii.a2b_uu(line[:length]))
            except binascii.Error:
                continue
    return b"".join(out) if started else data


_UU_BEGIN: Final = re.compile(r"begin [0-7]{3,4} (\S[^\n]{0,200})?\s?\Z")


def split_uuencoded(text: str) -> tuple[str, list[tuple[str, bytes]]]:
    """Text without the complete uuencoded files in it, and those files as (name, bytes). One pass."""
    kept: list[str] = []
    found: list[tuple[str, bytes]] = []
    block: list[str] = []
    chunks: list[bytes] = []
    name = ""
    for line in text.split("\n"):
        if not block:
            match = _UU_BEGIN.match(line)
            if match and len(found) < 100:
                block, chunks, name = [line], [], (match.group(1) or "").strip()
            else:
                kept.append(line)
            continue
        block.append(line)
        if line == "end":
            found.append((name, b"".join(chunks)))
            block = []
            continue
        try:
            chunks.append(binascii.a2b_uu(line))
        except (binascii.Error, ValueError):  # not a file after all
            kept.extend(block)
            block = []
    kept.extend(block)
    return "\n".join(kept), found


_META: Final = re.compile(
    rb"<meta[^>]{0,300}?charset\s{0,9}=\s{0,9}[\"']?\s{0,9}([A-Za-z0-9_.:-]{2,40})", re.IGNORECASE
)


def meta_charset(data: bytes) -> str | None:
    """The charset an html text names itself, in its first 2 KB (as browsers look for it)."""
    match = _META.search(data[:2_048])
    return match.group(1).decode("ascii") if match else None
