"""The queue protocol. One contract suite (`tests/contract/test_queue.py`) passes on every implementation.

Promises every implementation keeps:

- `publish` returns only when every message is durable (quorum confirm, or fsync); if it raises, the caller must treat
  all of them as not accepted, though some may arrive all the same (they are recognised by their receipt id).
- Delivery is at least once. What is neither acked nor released (worker killed) is delivered again.
- A channel with a backlog does not keep another channel's messages waiting: batches are filled round robin.
- A message delivered more than `DELIVERY_LIMIT` times ends among the dead, with its reason, and delays nobody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

DELIVERY_LIMIT: Final = 10
MOST_BYTES: Final = 8 << 20  # octets of bodies after which a batch is full, whatever its limit


def describe_death(limit: int = DELIVERY_LIMIT) -> str:
    """Why a message that nobody managed to record lies among the dead letters."""
    return f"delivered more than {limit} times and never recorded (delivery_limit)"


def is_overdelivered(reason: str) -> bool:
    """Whether a dead letter died of its deliveries alone, so that nothing is known against the message."""
    return reason.endswith("(delivery_limit)")


class QueueUnavailableError(Exception):
    """The queue cannot make anything durable now. Temporary by definition: the sender keeps the message."""


class QueueSilentError(QueueUnavailableError):
    """The queue was reached and does not answer in time: all of it stands still, or the channel of this message."""


class QueueRefusedError(QueueUnavailableError):
    """The queue answered, and will not take this message now (its channel is full or not bound). Others may pass."""


class NotBoundError(QueueRefusedError):
    """The broker knows no queue for this message: it is new, it was deleted, or its binding is gone."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One message to publish. `type` is `frontdesk.message.v1` or `frontdesk.update.v1`; `body` is its JSON."""

    body: bytes
    type: str
    receipt_id: str
    channel: str
    inbox: str
    traceparent: str = ""


@dataclass(frozen=True, slots=True)
class Delivered:
    """One message handed to a worker. `tag` is the queue's own handle; `attempts` counts earlier deliveries."""

    body: bytes
    type: str
    receipt_id: str
    channel: str
    inbox: str
    attempts: int
    tag: Any = field(repr=False)
    reason: str = ""  # dead letters: why it died
    traceparent: str = ""


@dataclass(frozen=True, slots=True)
class Depth:
    """How much is where, by channel: messages `ready`, `held` by a worker, in a `spool`; and the `dead` ones."""

    ready: Mapping[str, int]
    held: Mapping[str, int]
    dead: int
    spool: Mapping[str, int] = field(default_factory=dict)

    @property
    def unacked(self) -> int:
        """All that are with a worker."""
        return sum(self.held.values())

    @property
    def spooled(self) -> int:
        """All that are in the spool."""
        return sum(self.spool.values())

    @property
    def waiting(self) -> int:
        """Everything accepted that is not yet recorded, dead letters excluded."""
        return sum(map(self.waiting_by, {*self.ready, *self.held, *self.spool}))

    def waiting_by(self, channel: str) -> int:
        """So much of it came by this channel."""
        return sum(where.get(channel, 0) for where in (self.ready, self.held, self.spool))


def room_in(batch: Sequence[Delivered]) -> int:
    """Octets of bodies until a batch is full; not above 0: it is."""
    return MOST_BYTES - sum(len(delivery.body) for delivery in batch)


class Queue(Protocol):
    """Start it once per process; `publish` and the consuming side may be used by different processes."""

    async def start(self) -> None:
        """Open connections or files. Returns even when a broker is away: it is reached for in the background."""

    async def close(self) -> None:
        """Release everything; what was consumed and not acked goes back."""

    async def publish(self, messages: Sequence[Outgoing]) -> None:
        """Make the messages durable. Raises `QueueUnavailableError`."""

    async def consume(self, limit: int, *, linger: float = 0.0) -> list[Delivered]:
        """Wait for a first message, gather up to `limit` for at most `linger` seconds more, round robin by channel.

        Fewer when their bodies are large: once they have `MOST_BYTES`, the rest is for the next call.
        """

    async def ack(self, deliveries: Sequence[Delivered]) -> None:
        """They are recorded; forget them. Safe to call after a lost connection (they will come again, harmlessly)."""

    async def release(self, deliveries: Sequence[Delivered], *, delay: float = 0.0) -> None:
        """Give them back, to be delivered again after about `delay` seconds."""

    async def consume_dead(self, limit: int) -> list[Delivered]:
        """Dead letters at hand, without waiting; ack them once they are kept elsewhere."""

    async def depth(self) -> Depth:
        """What waits now. Raises `QueueUnavailableError` when it cannot be known."""

    async def ping(self) -> str:
        """One sentence about the service reached, for `frontdesk check`. Raises `QueueUnavailableError`."""
