"""A served desk, and a client that keeps no cookies and follows no redirect."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest

from tests.web.desk import Desk, make_desk


@pytest.fixture
async def serve() -> AsyncIterator[Callable[..., Awaitable[Desk]]]:
    """Start a desk with other options: `await serve(contact={"max_bytes": 2048})`."""
    desks: list[Desk] = []

    async def start(*, deadline: float = 10.0, **changes: dict[str, Any]) -> Desk:
        desk = make_desk(**changes)
        await desk.start(deadline=deadline)
        desks.append(desk)
        return desk

    yield start
    for desk in desks:
        await desk.stop()


@pytest.fixture
async def desk(serve: Callable[..., Awaitable[Desk]]) -> Desk:
    return await serve()


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield session
