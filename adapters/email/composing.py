"""A mail written from the fields a provider took it apart into, so that one reader reads everything.

The bytes are for `normalizer.mime` alone: 8-bit headers, binary attachments, nothing encoded that would be decoded
again at once. What the provider sent is kept beside it as the original.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from normalizer import headers

Buffer = bytes | memoryview

_NAME: Final = re.compile(r"[!-9;-~]{1,76}\Z")
_TYPE: Final = re.compile(r"[\w.+-]{1,100}/[\w.+-]{1,100}")
_LABEL: Final = re.compile(r"[A-Za-z0-9._:+-]{1,40}\Z")
_OURS: Final = ("content-", "mime-version")  # these described the parts that the provider took apart
_MAX_HEADER: Final = 262_145  # one more than the reader takes, so that it is the reader who says so


@dataclass(frozen=True, slots=True)
class Piece:
    """A text in `charset`, or a file."""

    data: Buffer
    content_type: str = "text/plain"
    charset: str = "utf-8"
    filename: str = ""
    content_id: str = ""


Pairs = Sequence[tuple[str, str]]


def fields_in(block: bytes) -> list[tuple[str, str]]:
    """A header block as it stood in the mail -> (lower-case name, unfolded value) pairs."""
    fields, _, _ = headers.split_block(block + b"\r\n\r\n", 0, len(block) + 4, _MAX_HEADER)
    return [(name, headers.unfold(value)) for name, value in fields]


def with_missing(pairs: Pairs, extra: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """`pairs`, and those of `extra` whose name is not among them and whose value is not empty."""
    known = {name.lower() for name, _ in pairs}
    return [*pairs, *((name, value) for name, value in extra if value and name.lower() not in known)]


def compose(pairs: Pairs, text: Piece | None, html: Piece | None, files: Sequence[Piece]) -> bytes:
    """The mail. `pairs` are its header fields; those about the content are replaced."""
    bodies = [piece for piece in (text, html) if piece is not None and len(piece.data)] or [Piece(b"")]
    boundary = _boundary([*bodies, *files])
    out: list[Buffer] = [_header(pairs), b"MIME-Version: 1.0\r\n"]
    if len(bodies) == 1 and not files:
        out += _body_part(bodies[0])
    else:
        out.append(_container(_root_type(pairs), boundary))
        if len(bodies) == 1:
            out += [_delimiter(boundary), *_body_part(bodies[0])]
        else:
            inner = f"{boundary}.a"
            out += [_delimiter(boundary), _container("multipart/alternative", inner)]
            for piece in bodies:
                out += [_delimiter(inner), *_body_part(piece)]
            out.append(f"\r\n--{inner}--\r\n".encode())
        shown = bytes(html.data[:4_000_000]) if html is not None else b""
        for piece in files:
            out += [_delimiter(boundary), *_file_part(piece, shown)]
        out.append(f"\r\n--{boundary}--\r\n".encode())
    return b"".join(out)


def _header(pairs: Pairs) -> bytes:
    lines = []
    for name, value in pairs:
        if _NAME.match(name) and not name.lower().startswith(_OURS):
            lines.append(f"{name}: {headers.clean_line(value)}\r\n")
    return "".join(lines).encode("utf-8", "replace")


def _root_type(pairs: Pairs) -> str:
    """A bounce stays a report: the reader finds the failed recipient in its attached parts."""
    declared = next((value for name, value in pairs if name.lower() == "content-type"), "")
    kind, parameters, _ = headers.parameters(declared[:2_000])
    report = parameters.get("report-type", "")
    if kind == "multipart/report" and _LABEL.match(report):
        return f"multipart/report; report-type={report}"
    return "multipart/mixed"


def _boundary(pieces: Iterable[Piece]) -> str:
    """A hash of all there is: no content can hold it on purpose, and the same fields give the same bytes."""
    state = hashlib.sha256()
    for piece in pieces:
        state.update(piece.data)
    return f"=_{state.hexdigest()[:40]}"


def _container(content_type: str, boundary: str) -> bytes:
    return f'Content-Type: {content_type}; boundary="{boundary}"\r\n\r\n'.encode()


def _delimiter(boundary: str) -> bytes:
    return f"\r\n--{boundary}\r\n".encode()


def _body_part(piece: Piece) -> list[Buffer]:
    label = piece.charset if _LABEL.match(piece.charset) else "utf-8"
    head = f'Content-Type: {piece.content_type}; charset="{label}"\r\nContent-Transfer-Encoding: binary\r\n\r\n'
    return [head.encode(), piece.data]


def _file_part(piece: Piece, html: bytes) -> list[Buffer]:
    match = _TYPE.match(piece.content_type.strip())
    kind = match.group() if match else "application/octet-stream"
    content_id = headers.clean_line(piece.content_id).strip("<> ")[:300]
    shown = bool(content_id) and b"cid:" + content_id.encode("utf-8", "replace") in html
    name = quote(piece.filename[:500].encode("utf-8", "replace"), safe="")
    lines = [
        f"Content-Type: {kind}",
        f"Content-Disposition: {'inline' if shown else 'attachment'}" + (f"; filename*=UTF-8''{name}" if name else ""),
        "Content-Transfer-Encoding: binary",
    ]
    if content_id:
        lines.append(f"Content-ID: <{content_id}>")
    return ["\r\n".join([*lines, "", ""]).encode("utf-8", "replace"), piece.data]
