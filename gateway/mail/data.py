"""The message after DATA, read by chunks.

aiosmtpd runs a coroutine a line, which for attachments costs a dozen times what searching the buffer does. This reader
looks for the end marker in whatever has arrived and keeps to the letter of RFC 5321 4.1.1.4: only CRLF.CRLF ends a
message. A bare LF or CR around a dot is content, so one message can never become two (SMTP smuggling).
"""

from __future__ import annotations

import asyncio
from enum import Enum, auto

from gateway.mail.limits import Lease

END = b"\r\n.\r\n"


class Fate(Enum):
    """How the reading ended. After `ENDLESS` the stream is out of step and the connection has to be closed."""

    COMPLETE = auto()
    TOO_BIG = auto()
    CROWDED = auto()
    ENDLESS = auto()


async def read_message(
    reader: asyncio.StreamReader, limit: int, lease: Lease, chunk_timeout: float
) -> tuple[Fate, bytes]:
    """Read up to the end marker. What exceeds `limit` is read on and thrown away, for at most `limit` bytes more, so
    that the client hears its 552 at the place where it listens.

    Raises `asyncio.IncompleteReadError` when the client leaves before the end, `TimeoutError` when the next chunk
    (the reader's limit, normally 64 KiB) takes longer than `chunk_timeout` seconds.
    """
    # The line end before the data belongs to the marker of an empty message, and is consumed with the DATA command.
    reader._buffer[:0] = b"\r\n"  # type: ignore[attr-defined]
    received = _Received()
    fate = Fate.COMPLETE
    size = 0
    while True:
        chunk, ended = await _next_chunk(reader, chunk_timeout)
        size += len(chunk)
        if fate is Fate.COMPLETE:
            fate = _judge(size, limit, lease)
        if fate is Fate.COMPLETE:
            received.add(chunk[:-3] if ended else chunk)  # without the final dot line
        else:
            received = _Received()
        if ended:
            return fate, received.join() if fate is Fate.COMPLETE else b""
        if size > 2 * limit:
            return Fate.ENDLESS, b""


def _judge(size: int, limit: int, lease: Lease) -> Fate:
    if size > limit + len(END):
        return Fate.TOO_BIG
    return Fate.COMPLETE if lease.cover(size) else Fate.CROWDED


async def _next_chunk(reader: asyncio.StreamReader, seconds: float) -> tuple[bytes, bool]:
    """Bytes up to the end marker and True, or the bytes that certainly stand before it and False."""
    async with asyncio.timeout(seconds):
        try:
            return await reader.readuntil(END), True
        except asyncio.LimitOverrunError as overrun:
            return await reader.read(overrun.consumed), False


class _Received:
    """A message as it comes: without the line end before it and the transparency dots (RFC 5321 4.5.2).

    Each chunk is cleaned by itself and all are joined once: whoever touches a mail of megabytes as a whole keeps every
    other sender waiting for some milliseconds.
    """

    def __init__(self) -> None:
        self._clean: list[bytes] = []
        self._rest = b""  # a line end, or half of one, that a dot may follow

    def add(self, chunk: bytes) -> None:
        chunk = self._rest + chunk
        self._rest = b"\r\n" if chunk.endswith(b"\r\n") else b"\r" if chunk.endswith(b"\r") else b""
        self._clean.append(chunk[: len(chunk) - len(self._rest)].replace(b"\r\n.", b"\r\n"))

    def join(self) -> bytes:
        first, *others = (part for part in (*self._clean, self._rest) if part)
        return b"".join((first[2:], *others))
