"""RabbitMQ when it answers, the spool when it does not: accepting never waits for a broker.

A publish that the broker does not confirm in time goes to the spool, a durable queue file of this gateway. The first
such failure opens a breaker: followers go straight to the spool, until the drainer has moved a batch from there to the
broker and so proved that it confirms again. A message may then arrive twice; it is recognised by its receipt id.

One queue of the broker may stand still alone, as one without a leader does: its channel goes to the spool, the others
go on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Final

from gateway.queues.base import (
    Delivered,
    Depth,
    Outgoing,
    Queue,
    QueueRefusedError,
    QueueSilentError,
    QueueUnavailableError,
)
from gateway.queues.embedded import EmbeddedQueue
from gateway.queues.link import is_cancelled

_log = logging.getLogger(__name__)

_DRAIN_BATCH: Final = 200
_DRAIN_SECONDS: Final = 10.0  # for one batch; nobody waits for it
_LOOK_SECONDS: Final = 1.0  # how often an open breaker is looked at while the spool is empty
_FIRST_PAUSE: Final = 0.25  # seconds between attempts to reach the broker again, doubled each time
_LONGEST_PAUSE: Final = 2.0
_REFUSED_PAUSE: Final = 5.0  # seconds before a message of a full queue is tried again
_SILENT_PAUSE: Final = 5.0  # seconds before a queue that stands still is asked again


class Breaker:
    """Open after a failure: do not ask the broker, it will not answer in time."""

    def __init__(self) -> None:
        self.is_open = False

    def fail(self, error: Exception) -> None:
        """The broker did not confirm."""
        if not self.is_open:
            _log.error("publishing to the spool until the broker confirms again: %s", error)
        self.is_open = True

    def succeed(self) -> None:
        """The broker confirmed."""
        if self.is_open:
            _log.info("the broker confirms again")
        self.is_open = False


class FailoverQueue:
    """A `gateway.queues.base.Queue`: publishes to `primary`, else to `spool`.

    The primary has three quarters of `deadline` seconds, the rest is for the spool's fsync. Consuming, acking and dead
    letters are the primary's.
    """

    def __init__(self, primary: Queue, spool: EmbeddedQueue, *, deadline: float = 2.0) -> None:
        spool.delivery_limit = None  # the spool only carries: failing to reach a broker says nothing about a message
        spool.poll_seconds = _LOOK_SECONDS  # nobody else writes to it
        self._primary = primary
        self._spool = spool
        self._deadline = deadline
        self._breaker = Breaker()
        self._refused: set[str] = set()  # channels whose queue did not take everything lately
        self._silent: dict[str, float] = {}  # channels whose queue alone stands still, and when it is asked again
        self._confirmed = 0  # publishes of ours
        self._moving: Sequence[Delivered] = ()  # what the drainer has claimed and may not have settled
        self._drainer: asyncio.Task[None] | None = None

    @property
    def spooling(self) -> bool:
        """Whether new messages go to the spool now."""
        return self._breaker.is_open

    async def start(self) -> None:
        """Open the spool, which must be writable, reach for the broker, and start moving what a former life spooled."""
        await self._spool.start()
        await self._primary.start()
        self._drainer = asyncio.create_task(self._drain_forever(), name="spool drainer")

    async def close(self) -> None:
        """Stop draining; what is spooled stays on disk for the next start."""
        if self._drainer is not None:
            self._drainer.cancel()
            await asyncio.gather(self._drainer, return_exceptions=True)
        await self._primary.close()
        await self._spool.close()

    async def publish(self, messages: Sequence[Outgoing]) -> None:
        """Durable with the broker or in the spool. Raises QueueUnavailableError when neither takes it in time."""
        stands_still = any(message.channel in self._silent for message in messages)
        if not self._breaker.is_open and not stands_still and await self._reach_primary(messages):
            return
        try:
            async with asyncio.timeout(self._deadline):
                await self._spool.publish(messages)
        except TimeoutError:
            raise QueueUnavailableError(f"neither the broker nor the disk took it in {self._deadline:g} s") from None

    async def consume(self, limit: int, *, linger: float = 0.0) -> list[Delivered]:
        """From the broker."""
        return await self._primary.consume(limit, linger=linger)

    async def ack(self, deliveries: Sequence[Delivered]) -> None:
        """To the broker."""
        await self._primary.ack(deliveries)

    async def release(self, deliveries: Sequence[Delivered], *, delay: float = 0.0) -> None:
        """To the broker."""
        await self._primary.release(deliveries, delay=delay)

    async def consume_dead(self, limit: int) -> list[Delivered]:
        """The broker's dead letters; the spool has none."""
        return await self._primary.consume_dead(limit)

    async def depth(self) -> Depth:
        """The broker's depth, and what waits in this gateway's spool."""
        ours = await self._spool.depth()
        spool = {channel: ours.waiting_by(channel) for channel in {*ours.ready, *ours.held}}
        return replace(await self._primary.depth(), spool=spool)

    async def spooled(self) -> int:
        """Messages in the spool; known even while the broker is away."""
        return (await self._spool.depth()).waiting

    async def ping(self) -> str:
        """Both must answer."""
        spool = await self._spool.ping()
        return f"{await self._primary.ping()}; {spool}"

    async def _reach_primary(self, messages: Sequence[Outgoing]) -> bool:
        confirmed = self._confirmed
        try:
            async with asyncio.timeout(self._deadline * 0.75):
                await self._primary.publish(messages)
        except QueueRefusedError as error:
            # The broker is well, one of its queues is full or unbound: no reason to keep away from the others.
            self._note_refusal({message.channel for message in messages}, error)
            return False
        except (TimeoutError, QueueSilentError):
            silence = QueueSilentError(f"no confirm within {self._deadline * 0.75:g} s")
            if confirmed == self._confirmed:
                self._breaker.fail(silence)
            else:  # the broker confirmed others meanwhile
                self._note_silence({message.channel for message in messages}, silence, pause=0)
            return False
        except QueueUnavailableError as error:
            self._breaker.fail(error)
            return False
        self._confirmed += 1
        return True

    def _note_refusal(self, channels: Collection[str], error: QueueRefusedError) -> None:
        """Say it once: a queue that is full or new refuses whatever comes, for as long as that lasts."""
        if not self._refused.issuperset(channels):
            _log.warning("spooling what comes by %s until its queue takes it: %s", ", ".join(sorted(channels)), error)
            self._refused.update(channels)

    def _note_silence(self, channels: Collection[str], error: Exception, *, pause: float) -> None:
        for channel in sorted(channels):
            if channel not in self._silent:
                _log.error("spooling what comes by %s until its queue confirms again: %s", channel, error)
            self._silent[channel] = time.monotonic() + pause

    # --- the drainer ---------------------------------------------------------------------------------------------

    async def _drain_forever(self) -> None:
        pause = _FIRST_PAUSE
        while not is_cancelled():  # the broker's client may have kept it
            try:
                well = await self._drain_once()
            except Exception:  # a drainer that ended would leave accepted messages on this disk, unseen
                _log.exception("draining the spool failed unexpectedly; trying again")
                well = False
            pause = _FIRST_PAUSE if well else min(pause * 2, _LONGEST_PAUSE)
            if not well:
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311

    async def _drain_once(self) -> bool:
        """Move one batch, or one message to see whether an open breaker may close. False: wait before the next."""
        try:
            await self._spool.release(self._moving)  # after an attempt that failed; what was moved stays forgotten
            self._moving = await self._claim(1 if self._breaker.is_open else _DRAIN_BATCH)
            if self._moving:
                return await self._move(self._moving)
            if self._silent and not await self.spooled():
                self._silent.clear()  # nothing is left to try it with
        except QueueUnavailableError as error:
            _log.error("the spool cannot be drained now: %s", error)
            return False
        # The breaker opened and nothing was spooled, for lack of disk perhaps: a question has to do.
        return not self._breaker.is_open or await self._knock()

    async def _claim(self, limit: int) -> list[Delivered]:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LOOK_SECONDS):
                return await self._spool.consume(limit)
        return []

    async def _move(self, batch: Sequence[Delivered]) -> bool:
        """Publish to the broker, then forget in the spool; a channel at a time, so a full queue stops only itself."""
        groups = _group_by_channel(batch)
        try:
            for channel in sorted(groups, key=self._silent.__contains__):  # whose queue stands still waits last
                await self._move_group(channel, groups[channel])
        except (QueueUnavailableError, TimeoutError) as error:
            self._breaker.fail(error)
            return False
        self._moving = ()
        return True

    async def _move_group(self, channel: str, group: Sequence[Delivered]) -> None:
        if (pause := self._silent.get(channel, 0) - time.monotonic()) > 0:
            await self._spool.release(group, delay=pause)
            return
        # After a refusal one by one: of a refused batch some were taken, and trying the whole of it again and again
        # would fill what room there is with duplicates. A queue that stands still is asked with one as well.
        size = 1 if channel in self._refused or channel in self._silent else len(group)
        unspeakable = False
        for first in range(0, len(group), size):
            part = group[first : first + size]
            try:
                async with asyncio.timeout(_DRAIN_SECONDS):
                    await self._primary.publish([_read_outgoing(delivery) for delivery in part])
            except QueueRefusedError as error:
                self._note_refusal([channel], error)
                await self._spool.release(group[first:], delay=_REFUSED_PAUSE)
                return
            except (QueueSilentError, TimeoutError) as error:
                if not await self._knock():
                    raise
                self._note_silence([channel], error, pause=_SILENT_PAUSE)
                await self._spool.release(group[first:], delay=_SILENT_PAUSE)
                return
            except QueueUnavailableError:
                raise
            except Exception:  # a message that cannot be put on the wire, say: it must not hold up its neighbours
                _log.exception("%d spooled messages could not be published; trying again one by one", len(part))
                self._refused.add(channel)
                unspeakable = True
                await self._spool.release(part, delay=_REFUSED_PAUSE)
                continue
            await self._spool.ack(part)
            self._breaker.succeed()
            if self._silent.pop(channel, None):
                _log.info("the queue of %s confirms again", channel)
        if not unspeakable and channel in self._refused:
            self._refused.remove(channel)
            _log.info("the queue of %s takes messages again", channel)

    async def _knock(self) -> bool:
        try:
            async with asyncio.timeout(self._deadline):
                await self._primary.ping()
        except (QueueUnavailableError, TimeoutError):
            return False
        self._breaker.succeed()
        return True


def _group_by_channel(batch: Sequence[Delivered]) -> dict[str, list[Delivered]]:
    groups: dict[str, list[Delivered]] = defaultdict(list)
    for delivery in batch:
        groups[delivery.channel].append(delivery)
    return groups


def _read_outgoing(delivery: Delivered) -> Outgoing:
    return Outgoing(
        body=delivery.body,
        type=delivery.type,
        receipt_id=delivery.receipt_id,
        channel=delivery.channel,
        inbox=delivery.inbox,
        traceparent=delivery.traceparent,
    )
