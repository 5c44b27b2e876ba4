"""A link to RabbitMQ is closed when we close it and not before, whatever the library does meanwhile."""

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
    async def do_nothing(*_: Any) -> None:
        pass

    async def prepare(_connection: Any) -> Sequence[Any]:
        Away.met.set()
        with contextlib.suppress(asyncio.CancelledError):  # the answer came at the same moment
            await asyncio.Event().wait()
        return ()

    monkeypatch.setattr(link, "TappedConnection", Away)
    monkeypatch.setattr(link, "declare", do_nothing)
    monkeypatch.setattr(link, "bind", do_nothing)
    Away.where, Away.met = where, asyncio.Event()
    topology = compose_topology(DEFAULT_CHANNELS)
    away = Link("amqp://127.0.0.1:1/", topology, purpose="test", heartbeat=10, on_open=prepare, on_lost=lambda: None)
    away.start()
    await Away.met.wait()
    async with asyncio.timeout(10):
        await away.close()
    assert away.trouble == "closed"


@pytest.mark.parametrize(
    "error", [StopAsyncIteration(), KeyError("a defect of the library"), ConnectionError("refused")]
)
async def test_it_is_made_again_after_any_error(
    error: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A broker that comes later than we do is found by whoever goes on looking."""
    tried = 0
    again = asyncio.Event()

    class Failing(Away):
        async def connect(self) -> None:
            nonlocal tried
            tried += 1
            if tried == 2:
                again.set()
            raise error

        async def close(self, timeout: float) -> None:
            raise AttributeError("a connection that is half made")

    monkeypatch.setattr(link, "TappedConnection", Failing)
    monkeypatch.setattr(Away, "where", "")
    topology = compose_topology(DEFAULT_CHANNELS)
    away = Link("amqp://127.0.0.1:1/", topology, purpose="test", heartbeat=10, on_open=_nothing, on_lost=lambda: None)
    away.start()
    async with asyncio.timeout(10):
        await again.wait()
        await away.close()
    assert "trying again" in caplog.text
    assert ("an error that nobody expects" in caplog.text) == isinstance(error, KeyError)


async def _nothing(_connection: Any) -> Sequence[Any]:
    return ()
