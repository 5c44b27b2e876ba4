"""Between the socket and aiormq: confirms and deliveries are read here, every other frame by the library.

aiormq runs a coroutine, two queues and a task for each frame, about 100 us a publish and as much a delivery. Its
`transport_factory` lets us see the bytes first. A channel that has a `Reader` here gets its own contents and confirms
as they arrive; opening, closing, heartbeats, flow control and every request stay with aiormq.
"""

from __future__ import annotations

import asyncio
import contextlib
from struct import error as StructError
from typing import Any, Final, Protocol, cast

from aiormq import Connection, TransportFactory
from aiormq.exceptions import AMQPConnectionError
from yarl import URL

from gateway.queues.frames import BODY, HEAD, HEADER, HEARTBEAT, METHOD, OVERHEAD, Content, read_content

_STREAM_LIMIT: Final = 1 << 16
_SIGN_OF_LIFE: Final = 1.0  # seconds


class Reader(Protocol):
    """What a channel wants to read itself."""

    def method(self, payload: bytes) -> bool | None:
        """A method frame. None: not for us; False: taken; True: taken, and its content follows."""

    def content(self, content: Content, body: bytes) -> None:
        """The content that was announced."""


class _Half:
    """A reader and what has arrived of the content it waits for."""

    __slots__ = ("_content", "_parts", "_size", "_waiting", "reader")

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self._waiting = False
        self._content: Content | None = None
        self._parts: list[bytes] = []
        self._size = 0

    def take(self, kind: int, payload: bytes) -> bool:
        """Whether this frame is for the reader."""
        if kind == METHOD:
            announced = self.reader.method(payload)
            self._waiting = bool(announced)
            return announced is not None
        if not self._waiting:
            return False
        if kind == HEADER:
            self._content, self._parts, self._size = _read_content(payload), [], 0
        elif kind == BODY:
            self._parts.append(payload)
            self._size += len(payload)
        content = self._content
        if content is not None and self._size >= content.size:
            parts, self._parts, self._content, self._waiting = self._parts, [], None, False
            self.reader.content(content, parts[0] if len(parts) == 1 else b"".join(parts))
        return True


class Tap(asyncio.StreamReaderProtocol):
    """The protocol of one connection."""

    def __init__(self, stream: asyncio.StreamReader, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(stream, loop=loop)
        self._now = loop.time
        self._readers: dict[int, _Half] = {}
        self._rest = b""
        self._shown_at = 0.0
        self._out: asyncio.WriteTransport | None = None
        self.roomy = asyncio.Event()  # clear while the socket takes no more
        self.roomy.set()

    def read(self, channel: int, reader: Reader) -> None:
        """From now on this channel's contents and confirms go to `reader`."""
        self._readers[channel] = _Half(reader)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected."""
        super().connection_made(transport)
        self._out = cast(asyncio.WriteTransport, transport)  # uvloop's are not instances of the class

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody need wait for room any more."""
        super().connection_lost(exc)
        self.roomy.set()

    def pause_writing(self) -> None:
        """The broker does not read."""
        super().pause_writing()
        self.roomy.clear()

    def resume_writing(self) -> None:
        """It does again."""
        super().resume_writing()
        self.roomy.set()

    def write(self, data: bytes) -> None:
        """Whole frames, between those that aiormq writes."""
        if self._out is not None and not self._out.is_closing():
            self._out.write(data)

    def data_received(self, data: bytes) -> None:
        """Sort the frames. What is not ours goes on in the pieces in which it came."""
        if self._rest:
            data = self._rest + data
        place = passed = 0
        size = len(data)
        while size - place >= HEAD.size:
            kind, channel, length = HEAD.unpack_from(data, place)
            if not METHOD <= kind <= 8:  # not AMQP, or of another version: aiormq says so
                place = size
                break
            end = place + OVERHEAD + length
            if end > size:
                break
            half = self._readers.get(channel)
            if half is not None and half.take(kind, data[place + HEAD.size : end - 1]):
                if passed < place:
                    super().data_received(data[passed:place])
                passed = end
            place = end
        self._rest = data[place:]
        if passed < place:
            super().data_received(data[passed:place])
        elif self._now() - self._shown_at > _SIGN_OF_LIFE:
            # The broker sends heartbeats only when it has nothing else to say, and aiormq must not think it dead.
            self._shown_at = self._now()
            super().data_received(HEARTBEAT)


class TappedConnection(Connection):
    """An aiormq connection whose `tap` is known."""

    def __init__(self, url: URL) -> None:
        self._factory = _Factory()
        super().__init__(url, transport_factory=self._factory)

    @property
    def tap(self) -> Tap:
        """Known once it is connected."""
        return self._factory.tap


class _Factory(TransportFactory):
    tap: Tap

    async def create(self, url: URL, **kwargs: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect, with TLS for `amqps`. Raises AMQPConnectionError."""
        provider = kwargs.pop("ssl_context_provider")
        context = await provider.get_context() if url.scheme == "amqps" else None
        loop = asyncio.get_running_loop()
        stream = asyncio.StreamReader(limit=_STREAM_LIMIT, loop=loop)
        self.tap = tap = Tap(stream, loop)
        try:
            transport, _ = await loop.create_connection(
                lambda: tap, url.host or "localhost", url.port or 5672, ssl=context, **kwargs
            )
        except OSError as error:
            raise AMQPConnectionError(*error.args) from error
        return stream, asyncio.StreamWriter(transport, tap, stream, loop)


def _read_content(payload: bytes) -> Content:
    with contextlib.suppress(ValueError, StructError):
        return read_content(payload)
    # A stranger's message with headers that nobody can read: it is still delivered, and ends among the dead.
    return Content(int.from_bytes(payload[4:12]))
