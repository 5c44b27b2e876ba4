"""From the queue to the store: batches, and what may be acknowledged when.

Three kinds of failure, three answers. The store is away: hold the batch, unacknowledged and unreleased, and try again
with backoff, so an outage burns nobody's delivery count. One message cannot be recorded: it goes to the dead letters,
whole and with its reason, and costs only itself. This process dies: nothing was acknowledged, so it all comes again.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from pydantic_core import from_json

from gateway import telemetry
from gateway.ids import uuid7
from gateway.queues.base import Delivered, Queue, QueueUnavailableError, is_overdelivered
from gateway.store.engine import Store, is_transient
from gateway.store.ledger import record_dead, record_tallies
from gateway.store.overdue import overdue_stories
from gateway.store.people import Ours
from gateway.store.record import Recorded, record
from gateway.worker.evidence import Rules
from gateway.worker.pace import Pace
from gateway.worker.plan import Item
from normalizer.message import TALLY_TYPE, Message, Tally, Update, clean_text, parse_wire

_log = logging.getLogger(__name__)

_FIRST_PAUSE: Final = 0.2
_LONGEST_PAUSE: Final = 5.0  # seconds; an outage is over for people soon after it is over for the database
_DEAD_SECONDS: Final = 2.0
_SILENCE_SECONDS: Final = 60.0
_TRIES_ALONE: Final = 3  # a message that fails by itself for no known reason may have met a passing one


@dataclass(frozen=True, slots=True)
class _Read:
    """A delivery and what its body says."""

    delivery: Delivered
    item: Message | Update


@dataclass(slots=True)
class _Batch:
    """Deliveries that are recorded together, and what their bodies say."""

    deliveries: Sequence[Delivered]
    read: list[_Read] = field(default_factory=list)
    tallies: list[Tally] = field(default_factory=list)
    dead: list[tuple[Delivered, str]] = field(default_factory=list)

    @property
    def channels(self) -> list[str]:
        """Of the messages among them."""
        return [delivery.channel for delivery in self.deliveries if delivery.type != TALLY_TYPE]


class Worker:
    """Consumes, records, acknowledges. Any number of them may run at once, in any number of processes."""

    def __init__(
        self,
        queue: Queue,
        store: Store,
        *,
        batch_size: int = 100,
        linger: float = 0.01,
        rules: Rules | None = None,
        ours: Ours | None = None,
    ) -> None:
        self._queue = queue
        self._store = store
        self._batch_size = batch_size
        self._linger = linger
        self._rules = rules
        self._ours = ours

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, then finish the batch in hand."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._collect_dead(stop))
            tasks.create_task(self._notice_silence(stop))
            tasks.create_task(self._consume(stop))

    async def _consume(self, stop: asyncio.Event) -> None:
        """One batch after the other: what comes while one is recorded is the next, and waits for no other before it.

        A batch is acknowledged while the next is fetched, which costs the embedded queue one commit and not two. Behind
        a full batch there is a backlog, and the next one is fetched and read while the database is at work; not while
        one channel floods, as whoever writes on another one would wait for both.
        """
        pace = Pace(self._batch_size)
        acknowledging: asyncio.Task[None] | None = None
        following: asyncio.Task[_Batch] | None = None
        async with asyncio.TaskGroup() as tasks:
            while following or not stop.is_set():
                batch = await (following or self._next(pace.size, stop))
                if acknowledging is not None:
                    await acknowledging
                pace.note(batch.channels, time.monotonic())
                has_backlog = len(batch.deliveries) >= self._batch_size <= pace.size and not stop.is_set()
                following = tasks.create_task(self._next(pace.size, stop)) if has_backlog else None
                if not await self._handle(batch, stop):
                    return  # what was fetched ahead would wait for the same store; the queue has it again
                acknowledging = tasks.create_task(self._acknowledge(batch.deliveries, stop))

    async def _acknowledge(self, batch: Sequence[Delivered], stop: asyncio.Event) -> None:
        """Ack what is recorded, when the queue's disk is full as well: a claim of ours ends only with us."""
        pause = _FIRST_PAUSE
        while True:
            try:
                await self._queue.ack(batch)
            except QueueUnavailableError as error:
                _log.warning("%d recorded messages cannot be acknowledged yet: %s", len(batch), error)
                if await _pause(pause, stop):
                    return  # they come again to the next life, and are found recorded
                pause = min(pause * 2, _LONGEST_PAUSE)
            else:
                return

    async def _next(self, size: int, stop: asyncio.Event) -> _Batch:
        """The next batch, read; an empty one when it is time to stop."""
        consuming = asyncio.ensure_future(self._queue.consume(size, linger=self._linger))
        stopping = asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait({consuming, stopping}, return_when=asyncio.FIRST_COMPLETED)
            return await _read(consuming.result() if consuming.done() else ())
        except QueueUnavailableError as error:
            _log.warning("the queue is away: %s", error)
            await _pause(_FIRST_PAUSE, stop)
            return _Batch(())
        finally:
            stopping.cancel()
            if not consuming.done():
                consuming.cancel()

    async def _handle(self, batch: _Batch, stop: asyncio.Event) -> bool:
        """Record a batch, whatever it takes; False only when told to stop first."""
        pause = _FIRST_PAUSE
        while True:
            try:
                batch.read = await self._record(batch.read, batch.dead)
                await self._bury(batch.dead)
                await self._note(batch.tallies)
            except Exception as error:
                if not is_transient(error):
                    raise
                _log.warning("the store is away, holding %d messages: %s", len(batch.deliveries), _short(error))
                if await _pause(pause, stop):
                    return False
                pause = min(pause * 2, _LONGEST_PAUSE)
            else:
                return True

    async def _record(self, read: list[_Read], dead: list[tuple[Delivered, str]]) -> list[_Read]:
        """Record what was read; what cannot be recorded by itself moves to `dead`. Returns what is left: nothing."""
        if not read:
            return []
        try:
            self._report(await self._write([entry.item for entry in read]), read)
        except Exception as error:
            if is_transient(error):
                raise
            _log.warning("a batch of %d failed, recording one by one: %s", len(read), _short(error))
            while read:
                if reason := await self._record_alone(read[0]):
                    dead.append((read[0].delivery, reason))
                read.pop(0)
        return []

    async def _write(self, items: Sequence[Item]) -> list[Recorded]:
        return await self._store.write(record, items, datetime.now(UTC), self._rules, self._ours)

    async def _record_alone(self, entry: _Read) -> str:
        """Record one message; the reason when it cannot be."""
        reason = ""
        for _ in range(_TRIES_ALONE):
            try:
                self._report(await self._write([entry.item]), [entry])
            except Exception as error:
                if is_transient(error):
                    raise
                reason = f"cannot be recorded: {_short(error)}"
                _log.exception("message cannot be recorded", extra={"receipt_id": entry.delivery.receipt_id})
            else:
                return ""
        return reason

    async def _bury(self, dead: list[tuple[Delivered, str]]) -> None:
        if dead:
            rows = [_dead_row(delivery, reason) for delivery, reason in dead]
            await self._store.write(record_dead, rows, datetime.now(UTC))
            for delivery, reason in dead:
                _log.error("dead letter", extra={"receipt_id": delivery.receipt_id, "reason": reason})
            dead.clear()

    async def _note(self, tallies: list[Tally]) -> None:
        while tallies:
            try:
                await self._store.write(record_tallies, tallies[:1])
            except Exception as error:
                if is_transient(error):
                    raise
                # No message of anybody's: a forged one must not keep the worker from those that are.
                _log.error("a tally of gateway %r cannot be kept: %s", tallies[0].gateway[:64], _short(error))
            tallies.pop(0)

    async def _collect_dead(self, stop: asyncio.Event) -> None:
        """Bring what the queue itself gave up on (delivered too often) where people can see it."""
        held: Sequence[Delivered] = ()
        more = False
        while more or not await _pause(_DEAD_SECONDS, stop):
            more = False
            try:
                await self._queue.release(held)  # of a turn that failed; those that were acknowledged stay so
                held = await self._queue.consume_dead(self._batch_size)
                if not await self._handle_dead(held, stop):
                    return
                more, held = bool(held) and not stop.is_set(), ()
            except Exception as error:
                if not (isinstance(error, QueueUnavailableError) or is_transient(error)):
                    raise
                _log.warning("dead letters stay in the queue for now: %s", _short(error))

    async def _handle_dead(self, letters: Sequence[Delivered], stop: asyncio.Event) -> bool:
        """False only when told to stop first."""
        # A gateway's tally is no message of anybody's: it is noted, or the next one says it all.
        tallies = [letter for letter in letters if letter.type == TALLY_TYPE]
        messages = [letter for letter in letters if letter.type != TALLY_TYPE]
        await self._bury([(letter, letter.reason or "delivered too often") for letter in messages])
        if tallies and not await self._handle(await _read(tallies), stop):
            return False
        await self._queue.ack(letters)
        await self._try_once_more(messages, stop)
        return True

    async def _try_once_more(self, letters: Sequence[Delivered], stop: asyncio.Event) -> None:
        """What was delivered too often may be innocent: workers crashed while they held it, for another's fault.

        It is safe among the dead letters by now and is recorded from here, alone. If that is what kills workers, this
        one is the last: nobody delivers it again. What can be recorded is a replayed letter then.
        """
        for letter in letters:
            if is_overdelivered(letter.reason):
                await self._handle(await _read([letter]), stop)

    async def _notice_silence(self, stop: asyncio.Event) -> None:
        """Open tickets for calls the provider never finished telling us about."""
        while not await _pause(_SILENCE_SECONDS, stop):
            try:
                now = datetime.now(UTC)
                if updates := await self._store.read(overdue_stories, now):
                    await self._store.write(record, updates, now)
            except Exception as error:
                if not is_transient(error):
                    raise
                _log.warning("the store is away, silent calls are looked for later: %s", _short(error))

    @staticmethod
    def _report(results: Sequence[Recorded], read: Sequence[_Read]) -> None:
        """Count outcomes. One line a batch; a line a message, which `frontdesk receipts` knows too, at debug level."""
        now = datetime.now(UTC)
        arrived = {entry.item.receipt_id: entry.item.taken_at for entry in read}
        for result in results:
            seconds = (now - arrived[result.receipt_id]).total_seconds()
            telemetry.recorded(result.channel, result.outcome, seconds)
            if _log.isEnabledFor(logging.DEBUG):
                told = {"receipt_id": str(result.receipt_id), "outcome": result.outcome, "ticket": result.ticket_id}
                _log.debug("recorded one", extra=told)
        outcomes = Counter(result.outcome for result in results)
        _log.info("recorded", extra={"messages": len(results), "again": len(read) - len(results), **outcomes})


async def _read(deliveries: Sequence[Delivered]) -> _Batch:
    """What they say, with a turn for others after each: a batch is read while another one is being recorded."""
    batch = _Batch(deliveries)
    for delivery in deliveries:
        try:
            item = parse_wire(delivery.type, delivery.body)
        except ValueError as error:
            batch.dead.append((delivery, f"not a message of the queue contract: {_short(error)}"))
            continue
        if isinstance(item, Tally):
            batch.tallies.append(item)
        else:
            batch.read.append(_Read(delivery, item))
        await asyncio.sleep(0)
    return batch


def _dead_row(delivery: Delivered, reason: str) -> dict[str, Any]:
    """As much of the envelope as the body gives away; a body that is not ours still gets a receipt."""
    try:
        envelope = from_json(delivery.body)
        gateway, sequence = clean_text(str(envelope["gateway"]))[:64], int(envelope["sequence"])
        received_at = datetime.fromisoformat(envelope["received_at"]).astimezone(UTC)
    except (ValueError, TypeError, KeyError, OverflowError):
        gateway, sequence, received_at = "", 0, datetime.now(UTC)
    try:
        receipt_id = UUID(delivery.receipt_id)
    except ValueError:
        receipt_id = uuid7()
    return {
        "receipt_id": receipt_id,
        "gateway": gateway,
        "sequence": sequence if 0 <= sequence < 1 << 63 else 0,  # the column has 64 bits
        "channel": clean_text(delivery.channel)[:16],
        "inbox": clean_text(delivery.inbox),
        "type": clean_text(delivery.type),
        "body": delivery.body,
        "reason": clean_text(reason),
        "attempts": delivery.attempts,
        "received_at": received_at,
    }


async def _pause(seconds: float, stop: asyncio.Event) -> bool:
    """Wait with jitter; True when it is time to stop."""
    try:
        await asyncio.wait_for(stop.wait(), seconds * random.uniform(0.8, 1.2))  # noqa: S311  jitter, not a secret
    except TimeoutError:
        return False
    return True


def _short(error: BaseException) -> str:
    """The first line of an error, without the values SQLAlchemy would print (they are customers' words)."""
    origin = getattr(error, "orig", None) or error
    return f"{type(origin).__name__}: {(str(origin).splitlines() or [''])[0]}"[:300]
