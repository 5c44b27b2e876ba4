"""Opening the desk for one command: settings, then the runtime, closed whatever happens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from gateway.runtime import Runtime
from gateway.settings import load_settings
from gateway.worker.consume import Worker

T = TypeVar("T")


def finish(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end in a loop of its own, on uvloop where it is installed."""
    try:
        import uvloop  # noqa: PLC0415  an extra
    except ImportError:
        return asyncio.run(work)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


@asynccontextmanager
async def opened(*, migrated: bool = False) -> AsyncIterator[Runtime]:
    """The configured runtime. `migrated`: bring the schema up to date first, as `frontdesk up` does."""
    runtime = Runtime(load_settings())
    await runtime.start()
    try:
        yield runtime
    finally:
        await runtime.close()


async def record_everything(runtime: Runtime) -> None:
    """Work, beside whatever other workers there are, until nothing waits in the queue any more."""
    settings = runtime.settings
    stop = asyncio.Event()
    worker = Worker(runtime.queue, runtime.store, batch_size=settings.batch_size, linger=settings.batch_linger)
    working = asyncio.create_task(worker.run(stop))
    while not working.done() and (await runtime.queue.depth()).waiting:
        await asyncio.wait({working}, timeout=0.1)
    stop.set()
    await working
