"""What one AMQP channel has delivered to us and not yet heard back about.

Every Frontdesk channel has an AMQP channel of its own: its own prefetch window, its own delivery tags, its own buffer.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from aiormq.abc import DeliveredMessage
from aiormq.channel import Channel
from pamqp.commands import Basic

from gateway.queues.ahead import Ahead, Kept
from gateway.queues.base import Delivered, describe_death
from gateway.queues.frames import DELIVER, Content, read_deliver
from gateway.queues.link import LOST, is_cancelled
from gateway.queues.tap import Tap

_DELIVERY_COUNT: Final = "x-delivery-count"  # set by quorum queues, from the second delivery on
_DEATHS: Final = "x-death"
# Asked while a queue is choosing its leader, as after a restart, RabbitMQ 3.10 may lose the question and says so only
# after a minute (rabbit_quorum_queue:consume/3); asked once more it answers.
_CONSUME_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Tag:
    """A delivery's handle: the tag means nothing outside its AMQP channel."""

    lane: Lane
    number: int


class Lane:
    """Deliveries of one AMQP channel, oldest first: buffered, then with a worker, then settled."""

    def __init__(self, name: str, channel: Channel, ahead: Ahead, on_arrival: Callable[[], None]) -> None:
        self.name = name  # of the Frontdesk channel
        self._waiting: deque[Kept] = deque()
        self._ahead = ahead
        self._channel = channel
        self._on_arrival = on_arrival
        self._open: dict[int, None] = {}  # tags not settled, in order of delivery: an ordered set
        self._consumer: str | None = None
        self._announced = (0, "")  # tag and routing key of the delivery whose content follows
        self.lost = False

    @property
    def unacked(self) -> int:
        """How many deliveries the broker waits to hear about."""
        return len(self._open)

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits for a worker."""
        return not self._waiting

    def take(self) -> Delivered:
        """The oldest that waits, for a worker. Raises OSError when its body cannot be read any more."""
        return self._ahead.bring_back(self._waiting.popleft())

    def put_back(self, delivery: Delivered) -> None:
        """The worker did not want it after all: it is the next; ignored when lost."""
        if not self.lost:
            self._waiting.appendleft(self._ahead.keep(delivery))

    def lose(self) -> None:
        """The connection is gone: the broker will deliver all of it again, to somebody."""
        self.lost = True
        while self._waiting:
            self._ahead.forget(self._waiting.popleft())
        self._open.clear()

    async def open(self, queue: str, prefetch: int, tap: Tap, rank: int) -> None:
        """Start to consume; deliveries come from the tap, and aiormq only watches whether the broker cancels.

        `rank`: rabbitmq.com/docs/consumer-priority. Recording is one hand's work, and a message of a batch of a hundred
        costs less than half of what one of a dozen does: consumers that take turns only make each other slower.

        Raises TimeoutError when the queue does not answer.
        """
        tap.read(self._channel.number, self)
        await self._channel.basic_qos(prefetch_count=prefetch)
        confirmed = await self._channel.basic_consume(
            queue, _never, arguments={"x-priority": rank}, timeout=_CONSUME_SECONDS
        )
        self._consumer = confirmed.consumer_tag

    async def stop(self) -> None:
        """Stop consuming, and make sure that the acks sent so far count.

        The broker passes acks on to a quorum queue 32 at a time and forgets the rest when their channel closes. The
        answer to a cancel comes from the queue itself, so the first acks are through; when the next request has
        been answered too, the channel has seen that and has sent the rest.
        """
        if self._consumer is not None and not self.lost:
            await self._channel.basic_cancel(self._consumer)
            await self._channel.basic_qos(prefetch_count=1)

    def method(self, payload: bytes) -> bool | None:
        """A `gateway.queues.tap.Reader` of Basic.Deliver."""
        if payload[:4] != DELIVER:
            return None
        self._announced = read_deliver(payload)
        return True

    def content(self, content: Content, body: bytes) -> None:
        """One more delivery."""
        if not self.lost:
            number, key = self._announced
            self._open[number] = None
            delivery = read_delivery(content.type, content.headers, key, body, Tag(self, number))
            self._waiting.append(self._ahead.keep(delivery))
            self._on_arrival()

    def admit(self, message: DeliveredMessage) -> Delivered:
        """Note as ours what was asked for by Basic.Get."""
        number = message.delivery_tag or 0
        self._open[number] = None
        properties = message.header.properties
        kind, headers = properties.message_type or "", properties.headers or {}
        return read_delivery(kind, headers, message.routing_key or "", message.body, Tag(self, number))

    async def ack(self, numbers: Collection[int]) -> None:
        """Acknowledge. One frame for all that is oldest and complete, one each for the rest; ignored when lost."""
        wanted = {number for number in numbers if number in self._open}
        oldest = self._oldest_run(wanted)
        for number in wanted:
            del self._open[number]
        frames = [Basic.Ack(delivery_tag=oldest[-1], multiple=True)] if oldest else []
        frames += [Basic.Ack(delivery_tag=number) for number in sorted(wanted.difference(oldest))]
        await self._send(frames)

    async def requeue(self, numbers: Collection[int]) -> None:
        """Give back, to be delivered again; ignored when lost."""
        wanted = sorted(number for number in numbers if number in self._open)
        for number in wanted:
            del self._open[number]
        await self._send([Basic.Nack(delivery_tag=number, requeue=True) for number in wanted])

    def _oldest_run(self, wanted: set[int]) -> list[int]:
        # multiple=True settles everything up to a tag, so nothing that is still open may lie below it.
        run = []
        for number in self._open:
            if number not in wanted:
                break
            run.append(number)
        return run

    async def _send(self, frames: Sequence[Basic.Ack | Basic.Nack]) -> None:
        try:
            for frame in frames:
                # The last one waits for the socket: closing right after an ack must not lose what is still unwritten.
                last = frame is frames[-1]
                if isinstance(frame, Basic.Ack):
                    await self._channel.basic_ack(frame.delivery_tag, multiple=frame.multiple, wait=last)
                else:
                    await self._channel.basic_nack(frame.delivery_tag, requeue=True, wait=last)
        except LOST:
            pass  # they come again, and are recognised
        except asyncio.CancelledError:
            # aiormq cancels what waits on a dying connection; only a cancellation somebody asked for may pass.
            if is_cancelled():
                raise


async def _never(_: DeliveredMessage) -> None:
    """The callback aiormq asks for: the tap leaves it no delivery to call it with."""


def read_delivery(kind: str, headers: Mapping[str, Any], key: str, body: bytes, tag: Tag) -> Delivered:
    """A delivery as workers see it. Foreign messages in our queue have empty fields and will not parse."""
    count = headers.get(_DELIVERY_COUNT)
    return Delivered(
        body=body,
        type=kind,
        receipt_id=str(headers.get("receipt_id") or ""),
        channel=str(headers.get("channel") or key.partition(".")[0]),
        inbox=str(headers.get("inbox") or ""),
        attempts=count if isinstance(count, int) else 0,
        tag=tag,
        reason=read_reason(headers),
        traceparent=str(headers.get("traceparent") or ""),
    )


def read_reason(headers: Mapping[str, Any]) -> str:
    """Why the broker gave a message up, from its newest `x-death` entry; empty when it did not."""
    deaths = headers.get(_DEATHS)
    if not isinstance(deaths, list) or not deaths or not isinstance(deaths[0], dict):
        return ""
    reason, queue = deaths[0].get("reason"), deaths[0].get("queue")
    if reason == "delivery_limit":
        return describe_death()
    return f"given up by queue {queue} ({reason})"
