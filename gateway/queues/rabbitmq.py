"""The queue on RabbitMQ: confirmed publishes, quorum queues, one consumer a channel.

Two connections: an alarm on the broker (memory, disk) blocks the one that publishes, reading and acking included, so
consumers must not share it (rabbitmq.com/docs/alarms).

Deliveries are counted by the broker, and every return counts: `release`, a lost consumer, a killed worker with its
prefetched messages. Past DELIVERY_LIMIT the broker moves a message to frontdesk.dead. So a worker whose database is
away must *hold* what it consumed and try again, not release it: release is for what another worker might manage.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections import Counter, defaultdict
from collections.abc import Awaitable, Coroutine, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar, cast

from aiormq.channel import Channel
from aiormq.exceptions import ChannelInvalidStateError
from pamqp.commands import Basic

from gateway.queues.ahead import Ahead
from gateway.queues.base import (
    Delivered,
    Depth,
    NotBoundError,
    Outgoing,
    QueueSilentError,
    QueueUnavailableError,
    room_in,
)
from gateway.queues.lane import Lane, Tag
from gateway.queues.letters import Letters
from gateway.queues.link import LOST, Link, describe, is_cancelled
from gateway.queues.publisher import Publisher
from gateway.queues.tap import TappedConnection
from gateway.queues.topology import DEAD, DEFAULT_MAX_BYTES, INBOUND, compose_topology, queue_name

_log = logging.getLogger(__name__)

_STOP_SECONDS: Final = 2.0
_RANKS: Final = 1 << 15  # so many that two of a desk hardly ever share one; if they do, they take turns
_AGAIN_SECONDS: Final = 5.0  # before a queue that did not answer its consumer is asked again
_LOOK_SECONDS: Final = 0.005  # while a batch gathers; waking at each arrival costs more than reading what arrived

T = TypeVar("T")


class RabbitQueue:
    """A `gateway.queues.base.Queue` on the broker at `url`.

    `publish_timeout`: seconds a publish may take in all, the wait for a blocked connection included. `prefetch`:
    messages a channel may have with us unacked. `rank`: of all that consume, the one of the highest rank is handed
    everything while its window has room, and the next one what is beyond; random unless given. `max_bytes`: bodies that
    may wait in one channel's queue. `folder`: for what is handed out to us and too large to wait in memory; where the
    system has temporary files if not given.
    """

    def __init__(
        self,
        url: str,
        *,
        channels: Sequence[str],
        prefetch: int = 200,
        rank: int | None = None,
        publish_timeout: float = 5.0,
        heartbeat: int = 10,
        max_bytes: int = DEFAULT_MAX_BYTES,
        folder: Path | None = None,
    ) -> None:
        topology = compose_topology(channels, max_bytes=max_bytes)
        self._channels = tuple(channels)
        self._prefetch = prefetch
        self._rank = random.randrange(_RANKS) if rank is None else rank  # noqa: S311  not a secret
        self._publish_timeout = publish_timeout
        self._publishers: dict[str, Publisher] = {}  # by Frontdesk channel
        self._asking: Channel | None = None  # the AMQP channel for questions
        self._publish_link = Link(
            url,
            topology,
            purpose="publish",
            heartbeat=heartbeat,
            on_open=self._open_publishers,
            on_lost=self._lose_publishers,
        )
        self._ahead = Ahead(folder)
        self._lanes: list[Lane] = []
        self._late: set[asyncio.Task[None]] = set()
        self._turn = 0
        self._arrived = asyncio.Event()
        self._held: set[asyncio.Task[None]] = set()
        self._consume_link = Link(
            url, topology, purpose="consume", heartbeat=heartbeat, on_open=self._open_lanes, on_lost=self._lose_lanes
        )
        self._letters = Letters(self._consume_link, self._ahead)
        self._consuming = False
        self._closed = False

    async def start(self) -> None:
        """Reach for the broker in the background. The consuming connection is opened when somebody consumes."""
        self._publish_link.start()

    async def close(self) -> None:
        """Close both connections; the broker requeues what was not acked."""
        self._closed = True
        self._arrived.set()
        for task in self._held:
            task.cancel()
        await asyncio.gather(*self._held, return_exceptions=True)
        await asyncio.gather(*map(self._stop_lane, self._lanes))
        await asyncio.gather(self._publish_link.close(), self._consume_link.close())

    # --- publishing ----------------------------------------------------------------------------------------------

    async def publish(self, messages: Sequence[Outgoing]) -> None:
        """Confirmed by a quorum when it returns. QueueRefusedError: this message, not the broker, is the trouble."""
        if not messages:
            return
        try:
            await self._within(self._publish_timeout, self._publish_all(messages), "confirm")
        except NotBoundError:
            self._publish_link.declare_again()
            raise

    async def _publish_all(self, messages: Sequence[Outgoing]) -> None:
        connection = await self._publish_link.connection()
        await connection.ready()  # an alarm has blocked the connection: do not pile frames into its socket
        if not self._publishers:
            raise QueueUnavailableError(f"RabbitMQ at {self._publish_link.address}: {self._publish_link.trouble}")
        if len(messages) == 1:
            await self._publish_one(messages[0])
            return
        outcomes = await asyncio.gather(*map(self._publish_one, messages), return_exceptions=True)
        # A child that a dying connection cancelled is a failure like any other.
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome

    def _publish_one(self, message: Outgoing) -> Awaitable[None]:
        # Whatever the channel is called: a stranger's is bound to nothing, and the broker says so.
        publisher = self._publishers.get(message.channel) or next(iter(self._publishers.values()))
        return publisher.publish(message)

    async def _open_publishers(self, connection: TappedConnection) -> Sequence[Channel]:
        """An AMQP channel for each of ours: the broker works one off in order, and when a queue does not answer
        everything behind its message has to wait."""
        self._asking = cast(Channel, await connection.channel(publisher_confirms=False))
        opening = (connection.channel(publisher_confirms=True) for _ in self._channels)
        channels = cast(list[Channel], await asyncio.gather(*opening))
        made = (Publisher(channel, connection.tap) for channel in channels)
        self._publishers = dict(zip(self._channels, made, strict=True))
        return (*channels, self._asking)

    def _lose_publishers(self) -> None:
        publishers, self._publishers = self._publishers, {}
        self._asking = None
        for publisher in publishers.values():
            publisher.lose(f"RabbitMQ at {self._publish_link.address}: {self._publish_link.trouble}")

    # --- consuming -----------------------------------------------------------------------------------------------

    async def consume(self, limit: int, *, linger: float = 0.0) -> list[Delivered]:
        """Wait for a first message, however long the broker is away; channels take turns."""
        self._start_consuming()
        loop = asyncio.get_running_loop()
        batch: list[Delivered] = []
        self._fill(batch, limit)
        while not batch:
            self._arrived.clear()
            await self._arrived.wait()
            if self._closed:
                raise QueueUnavailableError(f"RabbitMQ at {self._consume_link.address}: closed")
            self._fill(batch, limit)
        deadline = loop.time() + linger
        while len(batch) < limit and room_in(batch) > 0 and (left := deadline - loop.time()) > 0:
            try:
                await asyncio.sleep(min(left, _LOOK_SECONDS))
            except asyncio.CancelledError:
                self._put_back(batch)
                raise
            self._fill(batch, limit)
        return batch

    async def ack(self, deliveries: Sequence[Delivered]) -> None:
        """Acknowledge; deliveries of a connection that is gone are passed over."""
        for lane, numbers in _group_by_lane(deliveries).items():
            await lane.ack(numbers)

    async def release(self, deliveries: Sequence[Delivered], *, delay: float = 0.0) -> None:
        """Give back after `delay`, during which we keep them; when we die meanwhile the broker has them at once."""
        if delay > 0 and deliveries:
            _keep(self._held, self._requeue_later(tuple(deliveries), delay))
        else:
            await self._requeue(deliveries)

    async def consume_dead(self, limit: int) -> list[Delivered]:
        """Dead letters at hand; they are held by us until acked or released."""
        self._start_consuming()
        return await self._within(self._publish_timeout, self._letters.get(limit), "hand out dead letters")

    def _start_consuming(self) -> None:
        if not self._consuming:
            self._consuming = True
            self._consume_link.start()

    def _fill(self, batch: list[Delivered], limit: int) -> None:
        """With what has arrived, as far as it has room."""
        room = room_in(batch)
        filled = [lane for lane in self._lanes if not lane.is_empty]
        if filled:
            self._turn = (self._turn + 1) % len(filled)
            filled = filled[self._turn :] + filled[: self._turn]
        while filled and len(batch) < limit and room > 0:
            taken = self._take_from(filled[: limit - len(batch)])
            batch += taken
            room -= sum(len(delivery.body) for delivery in taken)
            filled = [lane for lane in filled if not lane.is_empty]

    def _take_from(self, lanes: Sequence[Lane]) -> list[Delivered]:
        try:
            return [lane.take() for lane in lanes]
        except OSError as error:
            # All of it comes again, from the broker.
            self._consume_link.break_off(f"what it handed out cannot be read from a temporary file: {error}")
            return []

    def _put_back(self, batch: Sequence[Delivered]) -> None:
        for delivery in reversed(batch):
            tag: Tag = delivery.tag
            tag.lane.put_back(delivery)
        self._arrived.set()

    async def _open_lanes(self, connection: TappedConnection) -> Sequence[Channel]:
        # Side by side: after a restart of the broker the queues elect their leaders at different times.
        opened = await asyncio.gather(*(self._open_lane(connection, name) for name in self._channels))
        channels = [channel for channel in opened if channel is not None]
        if not channels:
            raise TimeoutError
        for name, channel in zip(self._channels, opened, strict=True):
            if channel is None:
                _keep(self._late, self._open_late(connection, name))
        return channels

    async def _open_lane(self, connection: TappedConnection, name: str) -> Channel | None:
        """None when its queue does not answer, as one without a leader: the others need not wait for it."""
        channel = cast(Channel, await connection.channel(publisher_confirms=False))
        channel.on_consumer_cancel_callbacks.add(self._on_consumer_cancelled)
        lane = Lane(name, channel, self._ahead, self._arrived.set)
        self._lanes.append(lane)
        try:
            await lane.open(queue_name(name), self._prefetch, connection.tap, self._rank)
        except TimeoutError:
            _log.error("RabbitMQ at %s: %s does not answer its consumer", self._consume_link.address, queue_name(name))
            self._lanes.remove(lane)
            lane.lose()
            return None
        return channel

    async def _open_late(self, connection: TappedConnection, name: str) -> None:
        """Ask until it answers; from then on the connection cannot do without that channel either."""
        channel = None
        while channel is None:
            await asyncio.sleep(_AGAIN_SECONDS)
            try:
                channel = await self._open_lane(connection, name)
            except LOST as error:
                self._consume_link.break_off(describe(error))
                return
        _log.info("RabbitMQ at %s: %s answers its consumer", self._consume_link.address, queue_name(name))
        await asyncio.wait([channel.closing])
        self._consume_link.break_off(f"the channel of {queue_name(name)} was closed")

    async def _stop_lane(self, lane: Lane) -> None:
        with contextlib.suppress(QueueUnavailableError):
            await self._within(_STOP_SECONDS, lane.stop(), "end a consumer")

    def _on_consumer_cancelled(self, _: Basic.Cancel) -> None:
        self._consume_link.break_off("the broker ended a consumer: was its queue deleted?")

    def _lose_lanes(self) -> None:
        for lane in self._lanes:
            lane.lose()
        self._lanes.clear()
        self._letters.lose()
        for task in self._late:
            task.cancel()

    async def _requeue(self, deliveries: Sequence[Delivered]) -> None:
        for lane, numbers in _group_by_lane(deliveries).items():
            await lane.requeue(numbers)

    async def _requeue_later(self, deliveries: Sequence[Delivered], delay: float) -> None:
        await asyncio.sleep(delay)
        await self._requeue(deliveries)

    # --- asking --------------------------------------------------------------------------------------------------

    async def depth(self) -> Depth:
        """What waits. AMQP tells how many are ready, not how many other consumers hold: `held` counts our own."""
        return await self._within(self._publish_timeout, self._count(), "tell its depth")

    async def ping(self) -> str:
        """One round trip on the publishing connection."""
        return await self._within(self._publish_timeout, self._ask(), "answer")

    async def _count(self) -> Depth:
        connection = await self._publish_link.connection()
        channel = await connection.channel(publisher_confirms=False)
        try:
            names = (*map(queue_name, self._channels), DEAD)
            counts = [(await channel.queue_declare(name, passive=True)).message_count or 0 for name in names]
        finally:
            with contextlib.suppress(*LOST):
                await channel.close()
        *ready, dead = counts
        waiting = dict(zip(self._channels, ready, strict=True))
        held = Counter[str]()
        for lane in self._lanes:
            held[lane.name] += lane.unacked
        return Depth(ready=waiting, held=held, dead=dead + self._letters.unacked)

    async def _ask(self) -> str:
        connection = await self._publish_link.connection()
        await connection.ready()
        if self._asking is None:
            raise ChannelInvalidStateError("the connection was closed")
        await self._asking.exchange_declare(INBOUND, passive=True)
        facts: dict[str, Any] = dict(connection.server_properties)
        return f"{facts.get('product', 'AMQP broker')} {facts.get('version', '')} at {self._publish_link.address}"

    async def _within(self, seconds: float, work: Awaitable[T], what: str) -> T:
        """Run it with a deadline, every way of losing the broker translated to QueueUnavailableError.

        QueueSilentError: it took longer.
        """
        address = self._publish_link.address
        try:
            async with asyncio.timeout(seconds):
                return await work
        except QueueUnavailableError:
            raise
        except TimeoutError:
            raise QueueSilentError(f"RabbitMQ at {address} did not {what} within {seconds:g} s") from None
        except LOST as error:
            raise QueueUnavailableError(f"RabbitMQ at {address}: {describe(error)}") from error
        except asyncio.CancelledError:
            if is_cancelled():
                raise
            raise QueueUnavailableError(f"RabbitMQ at {address}: the connection was lost") from None


def _keep(tasks: set[asyncio.Task[None]], work: Coroutine[Any, Any, None]) -> None:
    task = asyncio.create_task(work)
    tasks.add(task)
    task.add_done_callback(tasks.discard)


def _group_by_lane(deliveries: Sequence[Delivered]) -> dict[Lane, list[int]]:
    groups: dict[Lane, list[int]] = defaultdict(list)
    for delivery in deliveries:
        tag: Tag = delivery.tag
        groups[tag.lane].append(tag.number)
    return groups
