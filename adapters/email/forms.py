"""A posted form as slices of its body.

A provider's form is a mail of up to 30 MB. The parsers of web frameworks copy it into a buffer, then into chunks, then
into the joined field; here a field is a view into the body that arrived, and the only copy is the one that is kept.
RFC 7578 (multipart/form-data), RFC 2046 section 5.1.1, the URL standard's application/x-www-form-urlencoded.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote_to_bytes

from adapters.email.arrival import UnreadableError
from normalizer import headers

MAX_FIELDS: Final = 1_000
_MAX_PART_HEADER: Final = 16_384
_PIECE: Final = 65_536


@dataclass(frozen=True, slots=True)
class FormFile:
    """A file field."""

    field: str
    filename: str
    content_type: str
    data: memoryview


@dataclass(slots=True)
class Form:
    """The first value of each name, and the files in order."""

    fields: dict[str, memoryview] = field(default_factory=dict)
    files: list[FormFile] = field(default_factory=list)

    def __contains__(self, name: str) -> bool:
        return name in self.fields

    def data(self, name: str) -> bytes:
        """A copy of the bytes; empty when there is no such field."""
        return bytes(self.fields.get(name, b""))

    def text(self, name: str) -> str:
        """A short field as UTF-8 text."""
        return bytes(self.fields.get(name, b"")[:65_536]).decode("utf-8", "replace")


def read_form(body: bytes, content_type: str) -> Form:
    """Read a form. Raises `UnreadableError` for what is none, or is cut short. Linear in the size of `body`."""
    media_type, parameters, _ = headers.parameters(content_type[:1_000])
    if media_type == "multipart/form-data":
        boundary = parameters.get("boundary", "").encode("utf-8", "replace")
        if not 0 < len(boundary) <= 200:
            raise UnreadableError("the form does not name its boundary")
        return _from_multipart(body, boundary)
    if media_type == "application/x-www-form-urlencoded":
        return _from_urlencoded(body)
    raise UnreadableError(f"the post is {media_type[:80] or 'of no type'}, not a form")


def _from_urlencoded(body: bytes) -> Form:
    if body.count(b"&") > MAX_FIELDS:
        raise UnreadableError(f"the form has more than {MAX_FIELDS} fields")
    form, start = Form(), 0
    while start <= len(body):
        end = body.find(b"&", start)
        end = len(body) if end < 0 else end
        equals = body.find(b"=", start, end)
        equals = end if equals < 0 else equals
        if end > start:
            name = _unquote(body, start, min(equals, start + 300)).decode("utf-8", "replace")
            form.fields.setdefault(name, memoryview(_unquote(body, equals + 1, end)))
        start = end + 1
    return form


_NO_ESCAPE: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")


def _unquote(body: bytes, start: int, end: int) -> bytearray:
    """Percent escapes and plus signs undone, piece by piece.

    The standard library makes an object of every escape, and a post has to be read before its sender is known; with the
    sign changed they are quoted-printable, which is decoded in one step. Only what is no escape needs the slower way.
    """
    out = bytearray()
    while start < end:
        stop = min(start + _PIECE, end)
        if stop < end and (escape := body.find(b"%", stop - 2, stop)) >= 0:
            stop = escape
        piece = body[start:stop].replace(b"+", b" ")
        if _NO_ESCAPE.search(piece):
            out += unquote_to_bytes(piece)
        else:
            out += binascii.a2b_qp(piece.replace(b"=", b"=3D").replace(b"%", b"="))
        start = stop
    return out


def _from_multipart(body: bytes, boundary: bytes) -> Form:
    form, view = Form(), memoryview(body)
    for count, (start, end) in enumerate(_parts(body, boundary)):
        if count >= MAX_FIELDS:
            raise UnreadableError(f"the form has more than {MAX_FIELDS} fields")
        fields, content, _ = headers.split_block(body, start, end, _MAX_PART_HEADER)
        header = {name: headers.unfold(value) for name, value in reversed(fields)}
        _, names, _ = headers.parameters(header.get("content-disposition", ""))
        name, data = names.get("name", ""), view[min(content, end) : end]
        if "filename" in names:
            form.files.append(FormFile(name, names["filename"], header.get("content-type", ""), data))
        else:
            form.fields.setdefault(name, data)
    return form


def _parts(body: bytes, boundary: bytes) -> Iterator[tuple[int, int]]:
    """(start of its header, end of its content) of every part, up to the closing delimiter."""
    delimiter = b"\r\n--" + boundary
    start = len(delimiter) if body.startswith(b"\r\n") else len(delimiter) - 2
    if not body.startswith((delimiter, delimiter[2:])):
        found = body.find(delimiter)
        if found < 0:
            raise UnreadableError("the form has no part: its boundary is not in it")
        start = found + len(delimiter)
    while not body.startswith(b"--", start):
        line_end = body.find(b"\r\n", start, start + 200)
        if line_end < 0:
            raise UnreadableError("the form is malformed behind a boundary")
        end = _next_delimiter(body, delimiter, line_end)
        if end < 0:
            raise UnreadableError("the form is cut short")
        yield line_end + 2, end
        start = end + len(delimiter)


def _next_delimiter(body: bytes, delimiter: bytes, position: int) -> int:
    """Where the next delimiter begins; -1 for none. A longer line that only begins like one is content."""
    while (found := body.find(delimiter, position)) >= 0:
        after = body[found + len(delimiter) : found + len(delimiter) + 80]
        if after.startswith(b"--") or after.lstrip(b" \t").startswith(b"\r\n"):
            return found
        position = found + len(delimiter)
    return -1
