"""The queue's three implementations behind one handle, so that one suite can say what all of them promise."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from pathlib import Path

from gateway.queues.base import Delivered, Depth, Outgoing, Queue, QueueUnavailableError
from gateway.queues.embedded import EmbeddedQueue
from gateway.queues.failover import FailoverQueue
from gateway.queues.rabbitmq import RabbitQueue

CHANNELS = ("email", "phone")
PATIENCE = 60.0  # seconds for something that takes milliseconds on an idle machine


def make_message(number: int = 0, *, channel: str = "email", body: bytes | None = None) -> Outgoing:
    return Outgoing(
        body=b'{"number": %d}' % number if body is None else body,
        type="frontdesk.message.v1",
        receipt_id=f"receipt-{channel}-{number}",
        channel=channel,
        inbox="support",
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    )


async def take(queue: Queue, count: int, *, limit: int = 100) -> list[Delivered]:
    """Exactly `count` deliveries, in as many batches as it takes."""
    taken: list[Delivered] = []
    async with asyncio.timeout(PATIENCE):
        while len(taken) < count:
            taken += await queue.consume(min(limit, count - len(taken)))
    return taken


async def take_dead(queue: Queue, count: int = 1) -> list[Delivered]:
    """Exactly `count` dead letters; a broker moves them in the background."""
    taken: list[Delivered] = []
    async with asyncio.timeout(PATIENCE):
        while len(taken) < count:
            taken += await queue.consume_dead(count - len(taken))
            await asyncio.sleep(0.01)
    return taken


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait until an asynchronous condition holds."""
    async with asyncio.timeout(PATIENCE):
        while not await condition():
            await asyncio.sleep(0.01)


async def until_depth(queue: Queue, condition: Callable[[Depth], bool]) -> None:
    """Wait until the depth is as expected; while the broker is away it is not known."""

    async def holds() -> bool:
        try:
            return condition(await queue.depth())
        except QueueUnavailableError:
            return False

    await until(holds)


def open_files(folder: Path) -> list[Path]:
    """Files of this folder that this process has open, by names that also open those without one (proc(5))."""
    found = []
    for handle in Path("/proc/self/fd").iterdir():
        try:
            inside = str(handle.readlink()).startswith(f"{folder}/")
        except OSError:  # the handle that reads that list
            continue
        if inside:
            found.append(handle)
    return found


async def until_answering(queue: Queue) -> None:
    """Wait until the queue's service is reached."""

    async def answers() -> bool:
        try:
            await queue.ping()
        except QueueUnavailableError:
            return False
        return True

    await until(answers)


async def until_accepted(queue: Queue, message: Outgoing) -> None:
    """Publish it until the queue takes it."""

    async def accepts() -> bool:
        try:
            await queue.publish([message])
        except QueueUnavailableError:
            return False
        return True

    await until(accepts)


class Backend(ABC):
    """One store of messages. Every `open()` is another process's view of it."""

    def __init__(self) -> None:
        self._opened: list[Queue] = []

    @abstractmethod
    def make(self) -> Queue:
        """A queue that is not started."""

    async def open(self) -> Queue:
        queue = self.make()
        self._opened.append(queue)
        await queue.start()
        await until_answering(queue)
        return queue

    async def close(self) -> None:
        for queue in self._opened:
            await queue.close()

    async def until_handed_over(self, queue: Queue, count: int) -> None:  # noqa: B027  nothing to do is the default
        """Wait until everything ready lies at this consumer; only a broker pushes, so only there it takes time."""


class EmbeddedBackend(Backend):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def make(self) -> Queue:
        return EmbeddedQueue(self._path)


class RabbitBackend(Backend):
    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = url

    def make(self) -> Queue:
        return RabbitQueue(self.url, channels=CHANNELS, prefetch=500)

    async def until_handed_over(self, queue: Queue, count: int) -> None:
        await until_depth(queue, lambda depth: depth.unacked >= count)


class FailoverBackend(RabbitBackend):
    def __init__(self, url: str, path: Path) -> None:
        super().__init__(url)
        self._path = path

    def make(self) -> Queue:
        return FailoverQueue(super().make(), EmbeddedQueue(self._path))
