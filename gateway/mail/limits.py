"""Budgets of the mail listeners, and who may come in.

The listeners are meant to stand behind the site's own mail server (spam, TLS, SPF are its work) and bind to loopback by
default, but they hold against strangers too: every number here bounds memory, sockets or time one peer can take.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Sizes in bytes, times in seconds."""

    message: int = 26_214_400  # announced by SIZE; Gmail's and Microsoft's own limit for incoming mail
    recipients: int = 100  # a transaction; RFC 5321 4.5.3.1.8 asks for at least 100
    refusals: int = 200  # recipients refused on one connection, before it is closed: nobody guesses addresses here
    connections: int = 200
    per_peer: int = 50  # Postfix's default for one client; it delivers with 20 at most
    transit: int = 134_217_728  # all messages being received at one moment
    idle: float = 300.0  # between commands, RFC 5321 4.5.3.2.7
    chunk: float = 120.0  # for the next 64 KiB of a message
    data: float = 600.0  # for a whole message
    handshake: float = 30.0  # for the TLS handshake
    grace: float = 8.0  # for messages in hand when stopping


class Budget:
    """Bytes of all messages in hand, from their first chunk until they are durable or refused."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.used = 0

    @contextmanager
    def lease(self) -> Iterator[Lease]:
        """One message's share, given back at the end."""
        lease = Lease(self)
        try:
            yield lease
        finally:
            if lease.work is None or lease.work.done():
                self._give_back(lease)
            else:  # its sender has hung up, and it is still in hand
                lease.work.add_done_callback(lambda _: self._give_back(lease))

    def _give_back(self, lease: Lease) -> None:
        self.used -= lease.taken


class Lease:
    """What one message has taken of the budget. Small mail is never turned away: the first 64 KiB are not counted."""

    free = 65_536

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self.taken = 0
        self.work: asyncio.Task[list[str]] | None = None  # who has the message; the share is taken until that ends

    def cover(self, size: int) -> bool:
        """Take what a message of `size` bytes needs; False when that would exceed the total."""
        more = size - self.free - self.taken
        if more <= 0:
            return True
        if self._budget.used + more > self._budget.total:
            return False
        self._budget.used += more
        self.taken += more
        return True


class Roster:
    """Who is connected, in numbers."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._by_peer: Counter[str] = Counter()
        self._total = 0

    def admit(self, peer: str) -> str:
        """Count a new connection; a sentence instead of "" when it may not come in. A Unix socket has no peer name."""
        if self._total >= self._limits.connections:
            return "too many connections, please try again later"
        if peer and self._by_peer[peer] >= self._limits.per_peer:
            return f"too many connections from {peer}, please reuse one of them"
        self._total += 1
        self._by_peer[peer] += 1
        return ""

    def move(self, peer: str, to: str) -> str:
        """A proxy's connection turns out to be of `to`; a sentence instead of "" when that one may not come in."""
        if self._by_peer[to] >= self._limits.per_peer:
            return f"too many connections from {to}, please reuse one of them"
        self.leave(peer)
        self._total += 1
        self._by_peer[to] += 1
        return ""

    def leave(self, peer: str) -> None:
        """An admitted connection is over."""
        self._total -= 1
        self._by_peer[peer] -= 1
        if not self._by_peer[peer]:
            del self._by_peer[peer]

    def __len__(self) -> int:
        return self._total
