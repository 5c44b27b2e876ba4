"""The command loop of a mail conversation: a line in, a method, a reply out; limits, and the idle timer.

Does what aiosmtpd's loop does, for a third of its CPU: that one sanitises every line for a log nobody reads, arms a
timer a command, and writes each reply by itself. Clients that pipeline (RFC 2920) get the replies to MAIL, RCPT and
RSET in one packet with the next reply that may not be held back.
"""

from __future__ import annotations

import asyncio
import collections
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiosmtpd.smtp import SMTP, Session

from gateway.mail import replies

log = logging.getLogger(__name__)

_BOGUS: Final = 5  # commands nobody knows, before the connection ends
_GROUPED: Final = frozenset({"MAIL", "RCPT", "RSET"})  # RFC 2920 3.2: may be answered as a unit
_LAST_WORDS: Final = 5.0  # seconds to read what is still to be written when the conversation is over
_HELD: Final = 4096  # bytes of replies held back at most


class Dialogue(SMTP):
    """aiosmtpd's commands and our loop. Subclasses say what is done about them."""

    session: Session
    transport: asyncio.Transport | None
    _handler_coroutine: asyncio.Task[None]

    def __init__(self, handler: Any, *, calls: dict[str, int], **options: Any) -> None:
        self._calls = collections.defaultdict(lambda: calls["*"], calls)
        self._replies = bytearray()
        self._group = False  # the command being obeyed may be answered together with the next
        self._deadline = 0.0
        self._bogus = _BOGUS
        super().__init__(handler, **options)

    # Replies ---------------------------------------------------------------------------------------------------

    async def push(self, status: str | bytes) -> None:
        """Send a reply, safe and with its enhanced code; or keep it until more is said."""
        text = status.decode("utf-8", "replace") if isinstance(status, bytes) else status
        self._replies += replies.clean(text).encode("utf-8", "replace") + b"\r\n"
        if self._group and len(self._replies) < _HELD and b"\n" in self._reader._buffer:  # type: ignore[attr-defined]
            return
        self._flush()
        await self._writer.drain()

    def _flush(self) -> None:
        if self._replies:
            said, self._replies = self._replies, bytearray()
            self._writer.write(said)

    def hang_up(self, last_words: str) -> None:
        """Say why, and close. The conversation's task ends at its next await."""
        if self.transport is not None and not self.transport.is_closing():
            self._flush()
            self.transport.write(last_words.encode() + b"\r\n")
            self._close(self.transport)
        self._handler_coroutine.cancel()

    def _close(self, transport: asyncio.Transport) -> None:
        """Whoever does not read what is still to be written must not keep the place for ever."""
        transport.close()
        self.loop.call_later(_LAST_WORDS, transport.abort)

    # Time ------------------------------------------------------------------------------------------------------

    def _reset_timeout(self, duration: float | None = None) -> None:
        """Give the client so many seconds from now. The timer stays armed, and looks at the deadline when it rings."""
        self._deadline = self.loop.time() + (duration or self._timeout_duration)
        if self._timeout_handle is None or self._timeout_handle.when() > self._deadline:
            self._stop_timer()
            self._timeout_handle = self.loop.call_at(self._deadline, self._timeout_cb)

    def _stop_timer(self) -> None:
        if self._timeout_handle is not None:
            self._timeout_handle.cancel()
            self._timeout_handle = None

    def _timeout_cb(self) -> None:
        self._timeout_handle = None
        if self.loop.time() < self._deadline:
            self._timeout_handle = self.loop.call_at(self._deadline, self._timeout_cb)
        else:
            self.hang_up(replies.TIMED_OUT)

    def connection_lost(self, error: Exception | None) -> None:
        """The library expects a timer to cancel."""
        if self._timeout_handle is None:
            self._timeout_handle = self.loop.call_later(0, _nothing)
        super().connection_lost(error)
        self._stop_timer()

    # Commands --------------------------------------------------------------------------------------------------

    async def _handle_client(self) -> None:
        await self.push(f"220 {self.hostname} {self.__ident__}")
        while self.transport is not None:
            try:
                await self._obey(await self._next_line())
            except (asyncio.CancelledError, ConnectionResetError):
                if self.transport is not None:
                    self._close(self.transport)
                raise
            except Exception as error:
                self._group = False
                await self.push(await self.handle_exception(error))

    async def _next_line(self) -> bytes:
        """A command; of one that is far too long nothing but its first bytes, which are too many all the same."""
        try:
            return (await self._reader.readuntil()).rstrip(b"\r\n")
        except asyncio.LimitOverrunError as overrun:
            start = await self._reader.read(overrun.consumed)
        while True:
            try:
                await self._reader.readuntil()
            except asyncio.LimitOverrunError as overrun:
                await self._reader.read(overrun.consumed)
            else:
                return start

    async def _obey(self, line: bytes) -> None:
        name, _, rest = line.partition(b" ")
        if not line or not name.isascii():
            await self.push("500 Error: bad syntax")
            return
        command = name.decode("ascii").upper()
        extended = self.session.extended_smtp
        if len(line) > (self.command_size_limits[command] if extended else self.command_size_limit):
            await self.push("500 Command line too long")
            return
        method: Callable[[str | None], Awaitable[None]] | None = self._smtp_methods.get(command)
        if not await self._permits(command, known=method is not None) or method is None:
            return
        self._reset_timeout()
        self._group = command in _GROUPED
        # Senders may use UTF-8 undeclared, and 8-bit bytes of no encoding: kept as they are.
        await method(rest.strip().decode("utf-8", "surrogateescape") if rest else None)
        self._group = False

    async def _permits(self, command: str, *, known: bool) -> bool:
        """Count it against the limits; the reply when it may not pass."""
        left = self._calls[command]
        self._calls[command] = left - 1
        if left < 1:
            log.warning("%s sent too many times", replies.one_line(command, 20))
            await self._end(f"421 4.7.0 {command} sent too many times")
            return False
        if known:
            return True
        self._bogus -= 1
        if self._bogus < 1:
            await self._end("502 5.5.1 Too many unrecognized commands, goodbye.")
        else:
            await self.push(f'500 Error: command "{command}" not recognized')
        return False

    async def _end(self, reply: str) -> None:
        await self.push(reply)
        if self.transport is not None:
            self._close(self.transport)


def _nothing() -> None:
    """A timer that has nothing to do."""
