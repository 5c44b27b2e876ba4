"""Pollers: what providers do not push is fetched, by one process at a time, and no cursor runs ahead of the queue.

Any number of processes may run this. For each inbox whoever holds its lease polls; the others wait to take over, which
they do within `LEASE_SECONDS` of a crash. A cursor is saved only when everything before it has been accepted, so a
crash at any point reads a few arrivals again, which are then recognised as duplicates.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Final

from adapters.base import PermanentError, Refused, TemporaryError
from gateway import telemetry
from gateway.intake import Inbox, NotDurableError
from gateway.store import cursors

if TYPE_CHECKING:
    from gateway.runtime import Runtime

_log = logging.getLogger(__name__)

LEASE_SECONDS: Final = 30.0
_RENEW_SECONDS: Final = 10.0
_PERMANENT_SECONDS: Final = 900.0  # an operator may have put it right meanwhile
_FIRST_BACKOFF: Final = 5.0  # X's advice for HTTP errors: 5 s, doubling to 320 s
_LONGEST_BACKOFF: Final = 320.0


async def run_pollers(runtime: Runtime, stop: asyncio.Event) -> None:
    """Poll every inbox that can be polled, until `stop` is set."""
    async with asyncio.TaskGroup() as group:
        group.create_task(stop.wait())
        for inbox in runtime.inboxes.values():
            if inbox.adapter.polls and not inbox.adapter.missing():
                group.create_task(keep_polling(runtime, inbox, stop), name=f"poll {inbox.name}")


async def keep_polling(runtime: Runtime, inbox: Inbox, stop: asyncio.Event) -> None:
    """Poll one inbox for as long as its lease is ours. No failure ends this; each is logged once until it changes."""
    lease = Lease(runtime, inbox.name)
    renewing = asyncio.create_task(lease.keep(stop), name=f"lease {inbox.name}")
    failures, last_sentence = 0, ""
    try:
        while not stop.is_set():
            if not await lease.held(stop):
                continue
            try:
                await poll_once(runtime, inbox, lease)
            except Exception as error:
                failures += 1
                pause, sentence = pause_after(error, failures), f"{type(error).__name__}: {error}"
                if sentence != last_sentence:
                    _report(inbox, error, pause)
                last_sentence = sentence
            else:
                if failures:
                    _log.info("polled again", extra={"inbox": inbox.name, "failures": failures})
                failures, last_sentence = 0, ""
                pause = inbox.adapter.poll_seconds
            telemetry.polling(inbox.name, failing=failures > 0)
            await (_wait(stop, pause) if failures else _idle(inbox, stop, pause))
    finally:
        renewing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await renewing
        await inbox.adapter.close()
        await lease.give_up()


async def poll_once(runtime: Runtime, inbox: Inbox, lease: Lease) -> int:
    """Accept everything new; how much it was. Raises what the adapter raises, and `NotDurableError`.

    A page's cursor is saved after all of the page is durable. If the lease was lost meanwhile, it is not: whoever
    holds it now has a cursor of its own, and turning that back would only cost duplicates, but for nothing.
    """
    cursor = await runtime.store.read(cursors.read_cursor, inbox.name)
    pages = inbox.adapter.poll(cursor)
    accepted = 0
    try:
        async for page in pages:
            for raw in page.arrivals:
                try:
                    await runtime.intake.accept(inbox, raw)
                except Refused as refusal:
                    # The provider cannot be told to mend it, and one bad arrival must not stop all that follow.
                    _log.error("polled arrival refused: %s", refusal, extra={"inbox": inbox.name})
                    page.refused.append(raw)
                else:
                    accepted += 1
            if not await lease.take():
                break
            await runtime.store.write(cursors.save_cursor, inbox.name, page.cursor)
    finally:
        # Adapters write `poll` as a generator, whose clean-up should not wait for the garbage collector.
        close = getattr(pages, "aclose", None)
        if close is not None:
            await close()
    return accepted


def pause_after(error: Exception, failures: int) -> float:
    """Seconds to wait after the n-th failure in a row: what the provider or the queue asks, else longer and longer."""
    if isinstance(error, PermanentError):
        return _PERMANENT_SECONDS
    asked = error.retry_after if isinstance(error, TemporaryError | NotDurableError) else None
    return asked if asked is not None else min(_FIRST_BACKOFF * 2 ** min(failures - 1, 10), _LONGEST_BACKOFF)


def _report(inbox: Inbox, error: Exception, pause: float) -> None:
    details = {"inbox": inbox.name, "next_try_in": round(pause)}
    if isinstance(error, TemporaryError | PermanentError | NotDurableError):
        _log.warning("cannot poll: %s", error, extra=details)
    else:
        _log.error("cannot poll", exc_info=error, extra=details)


class Lease:
    """The right to poll one inbox, renewed in the background so that it outlives slow pages but not its holder."""

    def __init__(self, runtime: Runtime, inbox: str) -> None:
        self._runtime = runtime
        self._inbox = inbox
        self._ours = asyncio.Event()

    async def keep(self, stop: asyncio.Event) -> None:
        """Take it when it is free and renew it, until `stop` is set."""
        while not stop.is_set():
            try:
                await self.take()
            except Exception as error:
                self._ours.clear()
                _log.warning("lease not renewed: %s", error, extra={"inbox": self._inbox})
            await _wait(stop, _RENEW_SECONDS)

    async def take(self) -> bool:
        """Take or renew it now; whether it is ours."""
        ours: bool = await self._runtime.store.write(
            cursors.take_lease, self._inbox, str(self._runtime.gateway_id), LEASE_SECONDS
        )
        if ours:
            self._ours.set()
        else:
            self._ours.clear()
        return ours

    async def held(self, stop: asyncio.Event) -> bool:
        """Wait until it is ours; False when `stop` came first."""
        waits = [asyncio.ensure_future(self._ours.wait()), asyncio.ensure_future(stop.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        return self._ours.is_set() and not stop.is_set()

    async def give_up(self) -> None:
        """Let another process take over at once. If that cannot be said, the lease runs out by itself."""
        if self._ours.is_set():
            with contextlib.suppress(Exception):
                await self._runtime.store.write(cursors.drop_lease, self._inbox, str(self._runtime.gateway_id))


async def _idle(inbox: Inbox, stop: asyncio.Event, seconds: float) -> None:
    """Until the next poll: as long as asked, or shorter when the provider has news or `stop` is set."""
    waits = [asyncio.ensure_future(inbox.adapter.idle(seconds)), asyncio.ensure_future(stop.wait())]
    try:
        done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
    if waits[0] in done and (error := waits[0].exception()) is not None:
        _log.error("cannot wait for news", exc_info=error, extra={"inbox": inbox.name})
        await _wait(stop, seconds)


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
