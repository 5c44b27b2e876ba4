"""A TCP relay on loopback: holds what one side says, loses packets without a word, is slow, breaks at any byte."""

from __future__ import annotations

import asyncio
import contextlib
from types import TracebackType

_CHUNK = 65536


class Relay:
    """Between one process and one service. While `held`, what the process writes reaches nobody; answers still pass.

    `delay`: seconds that everything takes, each way. `rate`: bytes a second, each way; 0: as fast as it goes.
    """

    def __init__(self, port: int, *, delay: float = 0.0, rate: int = 0) -> None:
        self._target = port
        self._server: asyncio.Server | None = None
        self._open = asyncio.Event()
        self._open.set()
        self._answering = asyncio.Event()
        self._answering.set()
        self._dark = False
        self._refusing = False
        self.connections = 0  # how often anybody came
        self._left: int | None = None  # bytes until every connection breaks
        self._tasks: set[asyncio.Task[None]] = set()
        self.delay = delay
        self.rate = rate
        self.held_bytes = 0
        self.held_answers = 0
        self.port = 0

    async def __aenter__(self) -> Relay:
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def hold(self) -> None:
        """From now on nothing that the process says is passed on."""
        self.held_bytes = 0
        self._open.clear()

    def pass_on(self) -> None:
        """Again; what was held is passed first, unless its connection is gone."""
        self._open.set()

    def hold_answers(self) -> None:
        """From now on the service is heard no more, while it hears everything."""
        self.held_answers = 0
        self._answering.clear()

    def pass_answers(self) -> None:
        """Again; what was held comes first."""
        self._answering.set()

    def cut(self) -> None:
        """Break every connection."""
        for task in self._tasks:
            task.cancel()

    def cut_after(self, count: int) -> None:
        """Break every connection when so many bytes more have passed, in the middle of a frame."""
        self._left = count

    def refuse(self) -> None:
        """New connections are closed at once, as if nobody listened."""
        self._refusing = True

    def welcome(self) -> None:
        """New connections are let in again."""
        self._refusing = False

    def darken(self) -> None:
        """Packets vanish in both directions and nobody is told: a cable was pulled. New connections fare alike."""
        self._dark = True

    def lighten(self) -> None:
        """The cable is back; what vanished stays vanished, so the connections of before are worthless."""
        self._dark = False
        self.cut()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self._refusing:
            writer.transport.abort()
            return
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        far: asyncio.StreamWriter | None = None
        try:
            far_reader, far = await asyncio.open_connection("127.0.0.1", self._target)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._forward(reader, far))
                group.create_task(self._back(far_reader, writer))
        except (OSError, asyncio.CancelledError, BaseExceptionGroup):
            pass
        finally:
            self._tasks.discard(task)
            for side in (writer, far):
                if side is not None:
                    side.transport.abort()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(_CHUNK):
            if not self._open.is_set():
                self.held_bytes += len(data)
                await self._wait(reader)
            await self._pass(data, writer)
        raise ConnectionError("the process hung up")

    async def _pass(self, data: bytes, writer: asyncio.StreamWriter) -> None:
        if self._dark:
            return
        if self.delay or self.rate:
            await asyncio.sleep(self.delay + (len(data) / self.rate if self.rate else 0))
        if self._left is not None:
            data, self._left = data[: self._left], self._left - len(data)
        writer.write(data)
        await writer.drain()
        if self._left is not None and self._left <= 0:
            self._left = None
            self.cut()
            await asyncio.sleep(0)

    async def _wait(self, reader: asyncio.StreamReader) -> None:
        """Until passing on is allowed, unless the process dies first: then what it said was never said."""
        while not self._open.is_set():
            if reader.at_eof() or reader.exception() is not None:
                raise ConnectionError("the process died")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._open.wait(), 0.02)
        if reader.at_eof() or reader.exception() is not None:
            raise ConnectionError("the process died")

    async def _back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(_CHUNK):
            if not self._answering.is_set():
                self.held_answers += len(data)
                await self._answering.wait()
            await self._pass(data, writer)
        raise ConnectionError("the service hung up")
