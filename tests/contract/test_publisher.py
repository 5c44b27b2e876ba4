"""What a publisher keeps of messages that were never confirmed."""

from __future__ import annotations

import asyncio
import gc
import sys
from types import SimpleNamespace
from typing import Any, cast

from gateway.queues.base import Outgoing
from gateway.queues.publisher import Publisher
from tests.contract.backends import make_message


class SilentBroker:
    """A tap behind which nobody confirms anything."""

    def __init__(self) -> None:
        self.roomy = asyncio.Event()
        self.roomy.set()
        self.octets = 0

    def read(self, channel: int, reader: Publisher) -> None: ...

    def write(self, data: bytes) -> None:
        self.octets += len(data)


async def test_a_body_is_not_kept_for_somebody_who_has_given_up() -> None:
    """A queue without a leader is asked every few seconds, for days perhaps, and never answers."""
    broker = SilentBroker()
    channel = SimpleNamespace(number=1, connection=SimpleNamespace(connection_tune=SimpleNamespace(frame_max=131_072)))
    publisher = Publisher(cast(Any, channel), cast(Any, broker))
    body = b"x" * 100_000
    before = sys.getrefcount(body)
    for number in range(3):
        await give_up(publisher, broker, make_message(number, body=body))
    await give_up(publisher, broker, make_message(3, body=b"the last one's frame lives in a traceback"))
    gc.collect()
    after = sys.getrefcount(body)  # not inside the assertion, which holds one too
    assert after == before


async def give_up(publisher: Publisher, broker: SilentBroker, message: Outgoing) -> None:
    written = broker.octets
    publishing = asyncio.create_task(publisher.publish(message))
    while broker.octets == written:
        await asyncio.sleep(0)
    publishing.cancel()
    await asyncio.gather(publishing, return_exceptions=True)
