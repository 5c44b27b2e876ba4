"""The bytes of a mail as a DKIM signature covers them (RFC 6376 section 3.4): header fields, and the body's hash.

Strict where the reader of mail is tolerant: a header that two readers could understand differently is refused here, so
that what is proven is what is shown. The body is hashed in slices of bounded size, each in linear time.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import Final

from normalizer.structure import MAX_FIELDS, MAX_HEADER_BYTES, skip_preamble

SLICE: Final = 131_072
_FIELD: Final = re.compile(rb"([!-9;-~]{1,200}):")
_ODD: Final = re.compile(rb"\r(?!\n)|\x00")
_BLANK: Final = re.compile(rb"\n\r?\n")
_WHITE: Final = re.compile(rb"[ \t]+")


class AmbiguousError(ValueError):
    """The header does not have one meaning for every reader; `str(error)` says what is odd about it."""


class SignedBytes:
    """A mail's header fields, raw, and the hash of its body. Raises `AmbiguousError`."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        start = skip_preamble(data)
        end, self._body = _header_end(data, start)
        self.fields = _fields(data[start:end])
        self._hashes: dict[bool, tuple[bytes, int]] = {}

    def named(self, name: bytes) -> list[bytes]:
        """The raw values of all fields of that (lower-case) name, from the top."""
        return [value for key, value in self.fields if key.lower() == name]

    def body_hash(self, *, relaxed: bool) -> tuple[bytes, int]:
        """SHA-256 of the canonical body, and how many octets that has."""
        if relaxed not in self._hashes:
            hasher, size = hashlib.sha256(), 0
            for piece in canonical_body(self._data, self._body, relaxed=relaxed):
                hasher.update(piece)
                size += len(piece)
            self._hashes[relaxed] = hasher.digest(), size
        return self._hashes[relaxed]


def canonical_body(data: bytes, start: int = 0, *, relaxed: bool, piece: int = SLICE) -> Iterator[bytes]:
    """The body from `start` on in "simple" or "relaxed" form, in pieces; a bare LF counts as a line end."""
    owed = 0  # empty lines that count only if something follows
    kept = b""  # the end of the last slice whose meaning the next one decides
    empty = True
    for position in range(start, len(data), piece):
        text = kept + data[position : position + piece]
        last = position + piece >= len(data)
        kept = b""
        if text.endswith(b"\r") and not last:
            kept, text = b"\r", text[:-1]
        text = text.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        if relaxed:
            text = _WHITE.sub(b" ", text).replace(b" \r\n", b"\r\n")
            if text.endswith(b" "):
                text = text[:-1]
                kept = b"" if last else b" " + kept
        content, lines = _split_line_ends(text)
        if content:
            yield from _line_ends(owed)
            yield content
            owed, empty = 0, False
        owed += lines
    if not (relaxed and empty):
        yield b"\r\n"


def _line_ends(count: int) -> Iterator[bytes]:
    for done in range(0, count, SLICE):
        yield b"\r\n" * min(SLICE, count - done)


def _split_line_ends(text: bytes) -> tuple[bytes, int]:
    """What stands before the trailing CRLFs, and their number."""
    end = len(text.rstrip(b"\r\n"))
    if text[end:] != b"\r\n" * ((len(text) - end) // 2):  # a bare CR before them is content
        end = len(text)
        while text[end - 2 : end] == b"\r\n":
            end -= 2
    return text[:end], (len(text) - end) // 2


def _header_end(data: bytes, start: int) -> tuple[int, int]:
    """Where the header ends and where the body begins."""
    stop = start + MAX_HEADER_BYTES
    blank = _BLANK.search(data, start, stop)
    if blank is not None:
        return blank.start() + 1, blank.end()
    if len(data) > stop:
        raise AmbiguousError(f"the header is longer than {MAX_HEADER_BYTES} octets")
    return len(data), len(data)


def _fields(block: bytes) -> list[tuple[bytes, bytes]]:
    if _ODD.search(block):
        raise AmbiguousError("the header has a bare CR or a NUL")
    fields: list[tuple[bytes, list[bytes]]] = []
    for raw in block.split(b"\n"):
        line = raw.removesuffix(b"\r")
        if line[:1] in (b" ", b"\t"):
            if not fields or not line.strip():
                raise AmbiguousError("a folded line of the header belongs to nothing")
            fields[-1][1].append(line)
        elif match := _FIELD.match(line):
            fields.append((match.group(1), [line[match.end() :]]))
        elif line:
            raise AmbiguousError("a line in the header is no header field")
        if len(fields) > MAX_FIELDS:
            raise AmbiguousError(f"more than {MAX_FIELDS} header fields")
    return [(name, b"\r\n".join(lines) + b"\r\n") for name, lines in fields]
