"""How handlers read and write: one call, typed, through whichever store the process was given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

from aiohttp import web
from sqlalchemy import Connection

from gateway.store.engine import Store
from gateway.web.keys import RUNTIME

P = ParamSpec("P")
T = TypeVar("T")


async def read(
    request: web.Request, fn: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
) -> T:
    """Run a reading function of `gateway.store` over a connection."""
    store: Store = request.config_dict[RUNTIME].store
    return await store.read(fn, *args, **kwargs)


async def write(
    request: web.Request, fn: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
) -> T:
    """Run a writing function of `gateway.store` in a transaction of its own."""
    store: Store = request.config_dict[RUNTIME].store
    return await store.write(fn, *args, **kwargs)
