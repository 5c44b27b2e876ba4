"""How processes that share a queue file tell one another that something lies in it, without waiting to be asked.

Each owner listens at a datagram socket of the abstract namespace (unix(7)), named after it: no file is left behind, and
the names are as secret as the folder they are read from. A ring carries nothing and promises nothing. It may be lost,
and it is of no use between containers with networks of their own: whoever listens also looks at the file by himself.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterable
from typing import Final

_PREFIX: Final = "\0frontdesk-queue-"


class Bell:
    """One process's side: it listens under its own name and rings at the others'."""

    def __init__(self) -> None:
        self._ringing: socket.socket | None = None
        self._listening: socket.socket | None = None
        self._name = ""

    def ring(self, names: Iterable[str]) -> None:
        """At each of these. Whoever has not heard the last ten yet needs no more."""
        if self._ringing is None:
            self._ringing = _open()
        if self._ringing is not None:
            for name in names:
                with contextlib.suppress(OSError):
                    self._ringing.sendto(b"", _PREFIX + name)

    def listen(self, name: str, loop: asyncio.AbstractEventLoop, heard: Callable[[], None]) -> None:
        """Call `heard` in the loop after rings at `name`. On the loop's thread; a name replaces the last one."""
        if name == self._name:
            return
        self.hang_up(loop)
        listening = _open()
        if listening is None:
            return
        try:
            listening.bind(_PREFIX + name)
        except OSError:
            listening.close()
            return
        self._listening, self._name = listening, name

        def drain() -> None:
            with contextlib.suppress(OSError):
                while True:
                    listening.recv(1)
            heard()

        loop.add_reader(listening, drain)

    def hang_up(self, loop: asyncio.AbstractEventLoop) -> None:
        """Listen no more."""
        listening, self._listening = self._listening, None
        self._name = ""
        if listening is not None:
            if not loop.is_closed():
                loop.remove_reader(listening)
            listening.close()

    def close(self) -> None:
        """Ring no more."""
        ringing, self._ringing = self._ringing, None
        if ringing is not None:
            ringing.close()


def _open() -> socket.socket | None:
    try:
        opened = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    except OSError:  # out of descriptors
        return None
    return opened
