"""A link to RabbitMQ is closed when we close it, whatever the library does with the cancellation meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

import pytest

from gateway.queues import link
from gateway.queues.link import Link
from gateway.queues.topology import DEFAULT_CHANNELS, compose_topology


class Away:
    """A broker that refuses, or opens; `met` tells when our cancellation will find the link at what `where` says."""

    where = ""
    met: asyncio.Event

    def __init__(self, url: object) -> None:
        self.is_closed = True
        self.closing = asyncio.get_running_loop().create_future()

    async def connect(self) -> None:
        if Away.where == "preparing":
            return
        if Away.where == "connecting":
            Away.met.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                raise ConnectionError("an error of the library's own") from None
        raise ConnectionError("refused")

    async def close(self, timeout: float) -> None:
        if Away.where == "hanging up":
            Away.met.set()
            await asyncio.Event().wait()


@pytest.mark.parametrize("where", ["connecting", "preparing", "hanging up"])
async def test_closing_ends_it(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def declare(*_: Any) -> None:
        pass

    async def prepare(_connection: Any) -> Sequence[Any]:
        Away.met.set()
        with contextlib.suppress(asyncio.CancelledError):  # the answer came at the same moment
            await asyncio.Event().wait()
        return ()

    monkeypatch.setattr(link, "TappedConnection", Away)
    monkeypatch.setattr(link, "declare", declare)
    Away.where, Away.met = where, asyncio.Event()
    topology = compose_topology(DEFAULT_CHANNELS)
    away = Link("amqp://127.0.0.1:1/", topology, purpose="test", heartbeat=10, on_open=prepare, on_lost=lambda: None)
    away.start()
    await Away.met.wait()
    async with asyncio.timeout(10):
        await away.close()
    assert away.trouble == "closed"
