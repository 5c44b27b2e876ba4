"""Reading an mbox from start to end, one message in memory at a time.

There are four dialects and no way to tell them apart (qmail's mbox(5), RFC 4155 appendix A):

- mboxo and mboxrd: a message ends where an empty line is followed by `From ` and a date; a body line that looks like
  that has a `>` before it (mboxrd: one more than it had), which is taken away here;
- mboxcl and mboxcl2: `Content-Length` counts the body. It is believed only where it leads exactly to the next `From `
  or to the end of the file; senders write that header too. mboxcl quotes as mboxrd does and mboxcl2 does not, so a body
  in which a line begins with `From ` was not quoted, and from any other the `>` is taken away.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import IO

from gateway.mail.dates import envelope_date
from gateway.mail.found import MAX_MESSAGE, Found, too_large

# `From erika@example.com Sat Jan  3 01:05:34 2026`: a time of day and a year tell it from a sentence.
_TIME = re.compile(rb"\d\d?:\d\d")
_YEAR = re.compile(rb"(?:19|20)\d\d\b")
_QUOTED = re.compile(rb">+From ")
_UNQUOTED = re.compile(rb"^From ", re.MULTILINE)
_QUOTE = re.compile(rb"^>(?=>*From )", re.MULTILINE)
_CONTENT_LENGTH = re.compile(rb"content-length:[ \t]*(\d{1,12})[ \t]*\r?\n?\Z", re.IGNORECASE)
_LINE = 1 << 20  # a longer line is read in pieces


def is_separator(line: bytes) -> bool:
    """Whether a line, found at the start of the file or after an empty line, begins a message."""
    if not line.startswith(b"From ") or len(line) > 500:
        return False
    return bool(_TIME.search(line) and _YEAR.search(line))


@dataclass
class _Message:
    lines: list[bytes] = field(default_factory=list)
    size: int = 0
    in_header: bool = True
    has_body: bool = False
    announced: int = -1  # Content-Length, while it has not been looked at
    came_at: datetime | None = None  # by its `From ` line

    def take(self, piece: bytes, at_line_start: bool) -> None:
        """One line, or a piece of a long one."""
        if self.in_header and at_line_start:
            if piece in (b"\n", b"\r\n"):
                self.in_header = False
            elif match := _CONTENT_LENGTH.match(piece):
                self.announced = int(match[1])
        else:
            self.has_body = True
            if at_line_start and _QUOTED.match(piece):
                piece = piece[1:]
        self.add(piece)

    def add(self, piece: bytes) -> None:
        self.size += len(piece)
        if self.size <= MAX_MESSAGE:
            self.lines.append(piece)
        else:
            self.lines.clear()

    def found(self, origin: str) -> Found:
        """The empty line before the next separator belongs to the mbox."""
        if self.size > MAX_MESSAGE:
            return too_large(origin)
        if self.has_body and self.lines[-1] in (b"\n", b"\r\n"):
            self.lines.pop()
        return Found(origin, b"".join(self.lines), stored_at=self.came_at)


def read_mbox(file: IO[bytes], name: str) -> Iterator[Found]:
    """The messages of an mbox; `name#1`, `name#2`, ... are their origins. Text before the first separator is told."""
    number = 0
    message: _Message | None = None
    at_line_start = after_empty = True
    stray = False
    while piece := file.readline(_LINE):
        empty = piece in (b"\n", b"\r\n")
        if at_line_start and after_empty and is_separator(piece):
            if message is not None:
                yield message.found(f"{name}#{number}")
            number += 1
            message = _Message(came_at=envelope_date(piece))
        elif message is None:
            stray = stray or not empty
        else:
            message.take(piece, at_line_start)
            if empty and message.announced >= 0 and (body := _read_announced(file, message)):
                message.add(body)
        at_line_start = piece.endswith(b"\n")
        after_empty = empty
    if stray:
        yield Found(name, error="has text before its first `From ` line, which was left out")
    if message is not None:
        yield message.found(f"{name}#{number}")


def _read_announced(file: IO[bytes], message: _Message) -> bytes:
    """The body that Content-Length counts, once; b"" and an unmoved file when it leads to no message's end."""
    length, message.announced = message.announced, -1
    if not file.seekable() or length > MAX_MESSAGE:
        return b""
    start = file.tell()
    end_of_file = file.seek(0, os.SEEK_END)
    file.seek(min(start + length, end_of_file))
    after = file.read(600).lstrip(b"\r\n")
    file.seek(start)
    if start + length > end_of_file or (after and not is_separator(after.partition(b"\n")[0])):
        return b""
    body = file.read(length)
    return body if _UNQUOTED.search(body) else _QUOTE.sub(b"", body)
