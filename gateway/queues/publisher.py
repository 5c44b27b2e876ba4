"""Confirmed publishes on one AMQP channel: one write for all that a turn of the event loop brings, no task each."""

from __future__ import annotations

import asyncio
from typing import Final
from uuid import uuid4

from aiormq.channel import Channel

from gateway.queues.base import NotBoundError, Outgoing, QueueRefusedError, QueueUnavailableError
from gateway.queues.frames import ACK, NACK, RETURN, Content, encode_publish, read_confirm
from gateway.queues.tap import Tap
from gateway.queues.topology import INBOUND, queue_name, routing_key

_WINDOW: Final = 512  # publishes in flight on one AMQP channel; what is beyond waits its turn
_FRAME_MAX: Final = 131_072  # when the broker sets no limit

Outcome = asyncio.Future[QueueUnavailableError | None]  # a result and not an exception: nobody may be left to hear it


class Publisher:
    """A `gateway.queues.tap.Reader` of confirms and returned messages.

    The channel must be in confirm mode, and everything published on it must be published here: the broker numbers
    publishes by counting them.
    """

    def __init__(self, channel: Channel, tap: Tap) -> None:
        self.channel = channel
        self._tap = tap
        self._frame_max = channel.connection.connection_tune.frame_max or _FRAME_MAX
        self._life = uuid4().hex[:16]
        self._last = 0
        self._waiting: dict[int, tuple[str, str, Outcome]] = {}  # by number, in ascending order
        self._window = asyncio.Semaphore(_WINDOW)
        self._unwritten: list[bytes] = []
        self._lost = ""
        tap.read(channel.number, self)

    async def publish(self, message: Outgoing) -> None:
        """Confirmed when it returns. Raises QueueRefusedError, or QueueUnavailableError when the connection is lost."""
        async with self._window:
            await self._tap.roomy.wait()
            trouble = await self._send(message)
        if trouble is not None:
            raise trouble

    def lose(self, trouble: str) -> None:
        """The connection is gone: whoever waits for a confirm will not get one. `trouble` is what they hear."""
        self._lost = trouble
        waiting, self._waiting = self._waiting, {}
        for _, _, outcome in waiting.values():
            if not outcome.done():
                outcome.set_result(QueueUnavailableError(self._lost))

    def _send(self, message: Outgoing) -> Outcome:
        if self._lost:
            raise QueueUnavailableError(self._lost)
        loop = asyncio.get_running_loop()
        number = self._last + 1
        frames = encode_publish(self.channel.number, message, INBOUND, f"{self._life}{number:016x}", self._frame_max)
        self._last = number
        outcome: Outcome = loop.create_future()
        self._waiting[number] = (message.channel, message.inbox, outcome)  # not its body: who asked may be gone
        if not self._unwritten:
            loop.call_soon(self._write)
        self._unwritten.append(frames)
        return outcome

    def _write(self) -> None:
        frames, self._unwritten = self._unwritten, []
        self._tap.write(b"".join(frames))

    # --- what the broker says ------------------------------------------------------------------------------------

    def method(self, payload: bytes) -> bool | None:
        """Basic.Ack, Basic.Nack, Basic.Return."""
        name = payload[:4]
        if name in (ACK, NACK):
            number, multiple = read_confirm(payload)
            if multiple:
                for earlier in self._up_to(number):
                    self._settle(earlier, accepted=name == ACK)
            else:
                self._settle(number, accepted=name == ACK)
            return False
        return True if name == RETURN else None

    def content(self, content: Content, body: bytes) -> None:
        """A message that no queue is bound for: returned first, then confirmed all the same."""
        found = self._waiting.get(self._number_of(content.message_id))
        if found is not None:
            channel, inbox, outcome = found
            key = routing_key(channel, inbox)
            if not outcome.done():
                why = f"RabbitMQ has no queue for {key}: is it new, or is its binding gone?"
                outcome.set_result(NotBoundError(why))

    def _number_of(self, message_id: str) -> int:
        return int(message_id[16:], 16) if message_id.startswith(self._life) else 0

    def _up_to(self, number: int) -> list[int]:
        numbers = []
        for earlier in self._waiting:
            if earlier > number:
                break
            numbers.append(earlier)
        return numbers

    def _settle(self, number: int, *, accepted: bool) -> None:
        found = self._waiting.pop(number, None)
        if found is None:
            return
        channel, _, outcome = found
        if not outcome.done():  # returned before, or the caller has given up
            full = f"RabbitMQ refused a message for {queue_name(channel)}: it is full"
            outcome.set_result(None if accepted else QueueRefusedError(full))
