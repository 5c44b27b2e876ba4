"""Live lists: one poll of the store a second while somebody looks, one stream of server-sent events a browser."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import web
from aiohttp_sse import sse_response

from gateway.store.engine import is_transient
from gateway.store.timeline import revision
from gateway.web.console import session
from gateway.web.reading import read

INTERVAL: Final = 1.0  # seconds between two looks at the store
_ALIVE: Final = 15.0  # seconds between two looks at whether the browser is still there and still allowed

Read = Callable[[], Awaitable[str]]
log: Final = logging.getLogger(__name__)


class Broadcaster:
    """Tells every listener when the revision of the store changes. Idle when nobody listens."""

    def __init__(self, interval: float = INTERVAL) -> None:
        self._interval = interval
        self._listeners: set[asyncio.Queue[str | None]] = set()
        self._latest = ""
        self._poller: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def polling(self) -> bool:
        """Is the store being asked?"""
        return self._poller is not None and not self._poller.done()

    @asynccontextmanager
    async def listen(self, look: Read) -> AsyncIterator[asyncio.Queue[str | None]]:
        """A queue that holds the newest revision not taken yet, and None once everything ends."""
        queue: asyncio.Queue[str | None] = asyncio.Queue(1)
        self._listeners.add(queue)
        if self._closed:
            _put(queue, None)
        elif not self.polling:
            self._latest = ""
            self._poller = asyncio.create_task(self._poll(look))
        elif self._latest:
            _put(queue, self._latest)
        try:
            yield queue
        finally:
            self._listeners.discard(queue)
            if not self._listeners:
                await self._stop()

    async def close(self) -> None:
        """End every stream, so that a server stops without waiting for browsers."""
        self._closed = True
        for queue in self._listeners:
            _put(queue, None)
        await self._stop()

    async def _stop(self) -> None:
        poller, self._poller = self._poller, None
        if poller is not None:
            poller.cancel()
            await asyncio.gather(poller, return_exceptions=True)

    async def _poll(self, look: Read) -> None:
        while True:
            try:
                seen = await look()
            except Exception as error:
                if not is_transient(error):
                    log.exception("console: cannot look for news")
                seen = self._latest
            if seen != self._latest:
                self._latest = seen
                for queue in self._listeners:
                    _put(queue, seen)
            await asyncio.sleep(self._interval)


BROADCASTER: Final[web.AppKey[Broadcaster]] = web.AppKey("broadcaster", Broadcaster)


async def stream(request: web.Request) -> web.StreamResponse:
    """GET console/events: an event with the new revision whenever a list may have changed."""
    broadcaster = request.app[BROADCASTER]
    async with sse_response(request) as response, broadcaster.listen(lambda: read(request, revision)) as news:
        while response.is_connected() and session.is_allowed(request):
            try:
                async with asyncio.timeout(_ALIVE):
                    seen = await news.get()
            except TimeoutError:
                continue
            if seen is None:
                break
            await response.send(seen)
    return response


async def close(app: web.Application) -> None:
    """Signal `on_shutdown`."""
    await app[BROADCASTER].close()


def _put(queue: asyncio.Queue[str | None], value: str | None) -> None:
    if queue.full():
        queue.get_nowait()
    queue.put_nowait(value)
