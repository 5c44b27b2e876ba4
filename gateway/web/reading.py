"""How handlers read and write: one call, typed, through whichever store the process was given.

Nobody waits longer for a store that does not answer (frozen, locked, all connections taken) than a person or a program
waits gladly: then it is StoreUnavailableError, which every handler turns into 503.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

from aiohttp import web
from sqlalchemy import Connection

from gateway.store.engine import Store, StoreUnavailableError
from gateway.web.keys import RUNTIME

P = ParamSpec("P")
T = TypeVar("T")

READ_SECONDS: Final = 2.5
WRITE_SECONDS: Final = 10.0  # a correction may wait for a batch that is being recorded


async def read(
    request: web.Request, fn: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
) -> T:
    """Run a reading function of `gateway.store` over a connection."""
    store: Store = request.app[RUNTIME].store
    return await _within(READ_SECONDS, store.read(fn, *args, **kwargs))


async def write(
    request: web.Request, fn: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
) -> T:
    """Run a writing function of `gateway.store` in a transaction of its own."""
    store: Store = request.app[RUNTIME].store
    return await _within(WRITE_SECONDS, store.write(fn, *args, **kwargs))


async def _within(seconds: float, work: Coroutine[Any, Any, T]) -> T:
    """Its result. When time is up it is told to stop and left alone: ending a call to a frozen database takes long."""
    task = asyncio.ensure_future(work)
    try:
        done, _ = await asyncio.wait({task}, timeout=seconds)
    except asyncio.CancelledError:
        task.cancel()
        raise
    if not done:
        task.add_done_callback(_forget)
        task.cancel()
        raise StoreUnavailableError(f"no answer within {seconds:g} s")
    return task.result()


def _forget(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()
