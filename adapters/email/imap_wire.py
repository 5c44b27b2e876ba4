"""An IMAP connection that trusts its server with nothing: every exchange has a deadline and an allowance.

imaplib reads whatever a server sends: a literal of two gigabytes into memory, untagged lines without end, one octet
every nineteen seconds. Here all reading goes through one place that counts, and that another thread can interrupt.
"""

from __future__ import annotations

import contextlib
import imaplib
import io
import select
import socket
import ssl
import time
from typing import Final

from imapclient import IMAPClient, SocketTimeout

CONNECT_SECONDS: Final = 10.0
READ_SECONDS: Final = 20.0  # silence; an exchange that keeps talking has its own, longer deadline
MAX_LINES: Final = 10_000  # in one answer; where flags change by the thousand, reconnecting is cheaper
MAX_LINE: Final = 1_000_000  # a SEARCH of 50,000 UIDs is one line of up to 550,000 octets
_BUFFER: Final = 65_536


class TooMuchError(Exception):
    """The server sent more than any honest answer has."""


class TooLargeLiteralError(TooMuchError):
    """The server announced a literal past the limit; none of it was read. `size` in octets."""

    def __init__(self, size: int) -> None:
        super().__init__(f"it announced {size} octets in one piece")
        self.size = size


class InterruptedReadError(Exception):
    """Another thread wants this one to stop waiting for the server."""


class Allowance:
    """What the server may send in answer to one command."""

    def __init__(self) -> None:
        self.grant(READ_SECONDS, text=_BUFFER)

    def grant(self, seconds: float, *, text: int, literals: int = _BUFFER, literal: int = _BUFFER) -> None:
        """From now on: this long, so many octets of lines and so many in literals, each of at most `literal`."""
        self.deadline = time.monotonic() + seconds
        self.lines = MAX_LINES
        self.text = text
        self.literals = literals
        self.literal = literal

    def spend_line(self, octets: int) -> None:
        """Raises `TooMuchError`."""
        self.lines -= 1
        self.text -= octets
        if self.lines < 0 or self.text < 0:
            raise TooMuchError("it sent more than was asked for")

    def spend_literal(self, octets: int) -> None:
        """Before it is read. Raises `TooMuchError`."""
        if octets > self.literal:
            raise TooLargeLiteralError(octets)
        self.literals -= octets
        if self.literals < 0:
            raise TooMuchError("it sent more than was asked for")


class Wire(imaplib.IMAP4):
    """imaplib's protocol engine over a bounded reader. `context` None: no TLS from the start."""

    def __init__(
        self, host: str, port: int, context: ssl.SSLContext | None, allowance: Allowance, wake: socket.socket
    ) -> None:
        self.allowance = allowance
        self._context = context
        self._wake = wake
        self._source: tuple[socket.socket, io.BufferedReader] | None = None
        super().__init__(host, port)

    def open(self, host: str = "", port: int = 143, timeout: float | None = None) -> None:
        """Connect."""
        self.host, self.port = host, port
        self.sock = socket.create_connection((host, port), CONNECT_SECONDS)
        self.sock.settimeout(READ_SECONDS)
        if self._context is not None:
            try:
                self.sock = self._context.wrap_socket(self.sock, server_hostname=host)
            except BaseException:
                self.sock.close()
                raise

    def read(self, size: int) -> bytes:
        """A literal of exactly `size` octets."""
        self.allowance.spend_literal(size)
        data = self._reader().read(size)
        if len(data) < size:
            raise self.abort("the server hung up in the middle of a mail")
        return data

    def readline(self) -> bytes:
        """One line."""
        line = self._reader().readline(MAX_LINE + 1)
        if len(line) > MAX_LINE:
            raise TooMuchError(f"it sent a line of more than {MAX_LINE} octets")
        self.allowance.spend_line(len(line))
        return line

    def shutdown(self) -> None:
        """Close at once."""
        source, self._source = self._source, None
        if source is not None:
            source[1].close()
        with contextlib.suppress(AttributeError, OSError):
            self.file.close()  # imaplib makes one of its own after STARTTLS
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()

    def _reader(self) -> io.BufferedReader:
        # STARTTLS replaces the socket. What a man in the middle sent ahead of it must not be read as if it were sealed.
        if self._source is None or self._source[0] is not self.sock:
            self._source = (self.sock, io.BufferedReader(_Metered(self.sock, self.allowance, self._wake), _BUFFER))
        return self._source[1]


class Client(IMAPClient):  # type: ignore[misc]  # IMAPClient has no types
    """IMAPClient over a `Wire`."""

    def __init__(
        self, host: str, port: int, context: ssl.SSLContext | None, allowance: Allowance, wake: socket.socket
    ) -> None:
        self._made_of = (host, port, context, allowance, wake)
        super().__init__(
            host,
            port,
            ssl=context is not None,
            ssl_context=context,
            timeout=SocketTimeout(CONNECT_SECONDS, READ_SECONDS),
        )
        self.wire.debug = 0  # IMAPClient has every line formatted for its log, mails and passwords among them

    def _create_IMAP4(self) -> Wire:
        self.wire = Wire(*self._made_of)
        return self.wire


class _Metered(io.RawIOBase):
    """The socket as a raw stream: waits no longer than allowed, and listens to `wake`."""

    def __init__(self, sock: socket.socket, allowance: Allowance, wake: socket.socket) -> None:
        self._sock = sock
        self._allowance = allowance
        self._wake = wake

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # the only buffer it is given
        self._wait()
        return self._sock.recv_into(buffer)

    def _wait(self) -> None:
        left = self._allowance.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the answer takes too long")
        poller = select.poll()
        poller.register(self._wake, select.POLLIN)
        sealed = isinstance(self._sock, ssl.SSLSocket) and self._sock.pending() > 0
        if not sealed:
            poller.register(self._sock, select.POLLIN)
        ready = poller.poll(0 if sealed else min(left, READ_SECONDS) * 1000)
        if any(number == self._wake.fileno() for number, _ in ready):
            raise InterruptedReadError
        if not ready and not sealed:
            raise TimeoutError("the server is silent")
