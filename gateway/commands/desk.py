"""Opening the desk for one command: settings, then the runtime, closed whatever happens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from gateway.runtime import Runtime
from gateway.settings import load_settings
from gateway.telemetry import configure_logging

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
async def opened(*, store_only: bool = False, only: str = "") -> AsyncIterator[Runtime]:
    """The configured runtime. With `store_only` no broker is reached for and no inbox is set up: enough to read.

    `only`: set up just this inbox.
    """
    settings = load_settings()
    # What a process logs as a matter of course is noise beside the answer of a command.
    configure_logging("warning" if settings.log_level == "info" else settings.log_level, settings.log_format)
    runtime = Runtime(settings)
    try:
        if not store_only:
            await runtime.start(only)
        yield runtime
    finally:
        await runtime.close()


@asynccontextmanager
async def taking_in(runtime: Runtime) -> AsyncIterator[None]:
    """While messages are accepted here: publish the tally of this gateway life, so that the audit knows of them."""
    done = asyncio.Event()
    reporting = asyncio.create_task(runtime.intake.report(done))
    try:
        yield
    finally:
        done.set()
        await reporting


async def record_everything(runtime: Runtime) -> None:
    """Work, beside whatever other workers there are, until nothing waits in the queue any more."""
    await runtime.migrate()
    stop = asyncio.Event()
    worker = runtime.worker()
    working = asyncio.create_task(worker.run(stop))
    while not working.done() and (await runtime.queue.depth()).waiting:
        await asyncio.wait({working}, timeout=0.05)
    stop.set()
    await working
