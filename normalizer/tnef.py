"""Outlook's `winmail.dat` (TNEF) -> the files and the text in it.

A stream of records (level, id, length, data, checksum) whose attachment records may carry MAPI properties. [MS-OXTNEF]
sections 2.1.3 and 2.2, [MS-OXPROPS]. Every length is checked against what is left, each step consumes at least one
octet, and numbers that a sender claims (properties, values) are never loops of their own. Compressed RTF is left out:
who writes it sends a plain text beside it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from normalizer import charset

SIGNATURE: Final = b"\x78\x9f\x3e\x22"
MAX_FILES: Final = 500
_MAX_DEPTH: Final = 3  # mails inside mails

_BODY, _TITLE, _DATA, _NEW_FILE, _MESSAGE_PROPS, _FILE_PROPS, _CODEPAGE = (
    0x800C, 0x8010, 0x800F, 0x9002, 0x9003, 0x9005, 0x9007,
)  # fmt: skip
# Property ids. The data object of an embedded mail is itself such a stream, behind a 16 octet interface id.
_PLAIN, _HTML, _CONTENT, _SHORT_NAME, _LONG_NAME, _MIME_TYPE, _CONTENT_ID = (
    0x1000, 0x1013, 0x3701, 0x3704, 0x3707, 0x370E, 0x3712,
)  # fmt: skip
_FIXED: Final = {
    0x0000: 0, 0x0001: 0, 0x0002: 4, 0x0003: 4, 0x0004: 4, 0x0005: 8, 0x0006: 8, 0x0007: 8, 0x000A: 4, 0x000B: 4,
    0x0014: 8, 0x0040: 8, 0x0048: 16,
}  # fmt: skip
_STRING8, _UNICODE, _OBJECT, _BINARY = 0x001E, 0x001F, 0x000D, 0x0102
_VARIABLE: Final = frozenset({_STRING8, _UNICODE, _OBJECT, _BINARY})


class File(NamedTuple):
    """One attached file; `name` is as the sender wrote it."""

    name: str
    content_type: str
    content: bytes
    content_id: str


@dataclass(slots=True)
class Contents:
    """What a stream holds. `damaged`: it ended early or made no sense from some point on."""

    files: list[File] = field(default_factory=list)
    text: str = ""
    html: str = ""
    damaged: bool = False


class _DamagedError(Exception):
    pass


class _Reader:
    """Octets taken from the front, never past the end."""

    def __init__(self, data: memoryview) -> None:
        self.data = data
        self.position = 0

    def take(self, size: int) -> memoryview:
        end = self.position + size
        if size < 0 or end > len(self.data):
            raise _DamagedError
        piece = self.data[self.position : end]
        self.position = end
        return piece

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def signature(self) -> None:
        if bytes(self.take(4)) != SIGNATURE:
            raise _DamagedError
        self.take(2)  # a key that nothing refers to

    @property
    def left(self) -> int:
        return len(self.data) - self.position


def read(data: bytes) -> Contents:
    """The contents of a stream. Never raises; linear in its size."""
    found = Contents()
    _read_stream(memoryview(data), found, 0)
    return found


def _read_stream(data: memoryview, found: Contents, depth: int) -> None:
    reader = _Reader(data)
    codepage = "cp1252"
    pending: dict[int, str | bytes] = {}  # of the file that is being read
    try:
        reader.signature()
        while reader.left > 0:
            reader.take(1)  # level: the record ids are unique across both
            record = reader.number(4) & 0xFFFF
            value = reader.take(reader.number(4))
            reader.take(2)  # checksum: real streams have wrong ones
            if record == _CODEPAGE and len(value) >= 4:
                codepage = f"cp{struct.unpack_from('<I', value)[0]}"
            elif record == _NEW_FILE:
                _finish(pending, found)
                pending = {}
            elif record == _TITLE:
                pending.setdefault(_SHORT_NAME, _text(bytes(value), codepage))
            elif record == _DATA:
                pending[_CONTENT] = bytes(value)
            elif record == _FILE_PROPS:
                _read_file(value, codepage, pending, found, depth)
            elif record == _BODY and not found.text:
                found.text = _text(bytes(value), codepage)
            elif record == _MESSAGE_PROPS:
                _read_message(value, codepage, found)
    except _DamagedError:
        found.damaged = True
    _finish(pending, found)


def _finish(pending: dict[int, str | bytes], found: Contents) -> None:
    content = pending.get(_CONTENT)
    if not isinstance(content, bytes) or len(found.files) >= MAX_FILES:
        return
    name = str(pending.get(_LONG_NAME) or pending.get(_SHORT_NAME) or "")
    found.files.append(
        File(name, str(pending.get(_MIME_TYPE) or ""), content, str(pending.get(_CONTENT_ID) or "").strip("<> "))
    )


def _read_file(value: memoryview, codepage: str, pending: dict[int, str | bytes], found: Contents, depth: int) -> None:
    for name, kind, content in _properties(_Reader(value)):
        if name in (_SHORT_NAME, _LONG_NAME, _MIME_TYPE, _CONTENT_ID) and kind in (_STRING8, _UNICODE):
            pending[name] = _string(kind, content, codepage)
        elif name == _CONTENT and kind == _OBJECT and bytes(content[16:20]) == SIGNATURE:
            if depth < _MAX_DEPTH:
                _read_stream(content[16:], found, depth + 1)
        elif name == _CONTENT and kind in (_BINARY, _OBJECT):
            pending.setdefault(_CONTENT, bytes(content[16:] if kind == _OBJECT else content))


def _read_message(value: memoryview, codepage: str, found: Contents) -> None:
    for name, kind, content in _properties(_Reader(value)):
        if name == _PLAIN and kind in (_STRING8, _UNICODE) and not found.text:
            found.text = _string(kind, content, codepage)
        elif name == _HTML and not found.html:
            if kind == _BINARY:
                found.html = charset.decode(bytes(content), None)[0].replace("\x00", "")
            elif kind in (_STRING8, _UNICODE):
                found.html = _string(kind, content, codepage)


def _properties(reader: _Reader) -> Iterator[tuple[int, int, memoryview]]:
    """(id, type, first value) of each property with values of variable length; others are stepped over."""
    for _ in range(min(reader.number(4), reader.left // 4)):
        kind, name = reader.number(2), reader.number(2)
        if name >= 0x8000:
            reader.take(16)
            if reader.number(4) == 0:
                reader.take(4)
            else:
                _padded(reader, reader.number(4))
        many, kind = bool(kind & 0x1000), kind & 0xEFFF
        if kind in _VARIABLE:
            for index in range(min(reader.number(4), reader.left // 4)):
                content = _padded(reader, reader.number(4))
                if index == 0:
                    yield name, kind, content
        elif kind in _FIXED:
            reader.take(_FIXED[kind] * (reader.number(4) if many else 1))
        else:
            raise _DamagedError


def _padded(reader: _Reader, size: int) -> memoryview:
    content = reader.take(size)
    reader.take(min(-size % 4, reader.left))
    return content


def _string(kind: int, content: memoryview, codepage: str) -> str:
    return _text(bytes(content), "utf-16-le" if kind == _UNICODE else codepage)


def _text(data: bytes, codepage: str) -> str:
    text = charset.decode(data, codepage)[0]
    return text.replace("\x00", "").replace("\r\n", "\n").replace("\r", "\n").strip("\n")
