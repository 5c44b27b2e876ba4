"""A light client, so that the gateway is measured and not the client: raw sockets, nothing parsed that is not needed.

A lane is one connection with one message under way, as browsers, providers and mail servers have them: a server
answers pipelined requests in turn, so eight connections of eight requests each are eight customers and not 64. HTTP
lanes are kept alive; SMTP lanes send many mails on one connection with MAIL, RCPT and DATA in one packet (RFC 2920).
"""

from __future__ import annotations

import asyncio
import re
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, cast

from gateway.bench.content import Item

_LENGTH: Final = re.compile(rb"\r\nContent-Length: *(\d+)", re.IGNORECASE)
_RECEIPT: Final = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")
_PATIENCE: Final = 120.0  # seconds without any answer


class BenchError(Exception):
    """The desk did not do what is to be measured. The sentence says what it did."""


@dataclass(slots=True)
class Answer:
    """One message that was accepted. Seconds of `time.perf_counter`."""

    due: float  # when it should have been sent: what waits in the client counts
    done: float
    receipt: str  # the first; empty where the provider is told none
    receipts: int = 1
    channel: str = ""


class Load:
    """Hands out messages to lanes and gathers their answers."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.failures: list[str] = []
        self.heard = 0  # answers in all
        self._bodies: list[bytes] | None = None  # kept only by `ask`
        self._backlog: deque[tuple[Item, float | None]] = deque()
        self._lanes: list[Lane] = []
        self._idle: list[Lane] = []
        self._connecting: set[asyncio.Task[None]] = set()
        self._moved = asyncio.Event()

    async def open(self, lanes: Sequence[Lane], port: int, host: str = "127.0.0.1") -> None:
        """Connect these lanes beside those there are. Raises OSError, and BenchError with what the desk said."""
        for lane in lanes:
            lane.load, lane.address = self, (host, port)
            await self._connect(lane)
        self._lanes += lanes

    async def _connect(self, lane: Lane) -> None:
        await asyncio.get_running_loop().create_connection(partial(_itself, lane), *lane.address)
        await asyncio.wait_for(lane.ready.wait(), 10)
        if lane.refused:
            raise BenchError(f"the desk takes no more connections: {lane.refused}")
        self._idle.append(lane)
        self._hand_out()

    def close(self) -> None:
        """Hang up."""
        lanes, self._lanes = self._lanes, []
        for task in self._connecting:
            task.cancel()
        for lane in lanes:
            lane.transport.abort()

    def hung_up(self, lane: Lane) -> None:
        """The desk closed a lane that had been silent for long: open it again, as everybody does."""
        if lane in self._lanes and lane in self._idle:
            self._idle.remove(lane)
            lane.ready.clear()
            task = asyncio.create_task(self._connect(lane))
            self._connecting.add(task)
            task.add_done_callback(self._connected)

    def _connected(self, task: asyncio.Task[None]) -> None:
        self._connecting.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self.failed(f"a connection could not be opened again: {error}")

    async def flood(self, items: Sequence[Item]) -> list[Answer]:
        """As fast as it is answered, every lane busy all the time."""
        self._backlog.extend((item, None) for item in items)
        self._hand_out()
        return await self._finish(len(items))

    async def ask(self, items: Sequence[Item]) -> list[bytes]:
        """What is answered, word for word, in any order."""
        self._bodies = []
        if items:
            await self.flood(items)
        bodies, self._bodies = self._bodies, None
        self.heard -= len(bodies)
        return bodies

    async def pace(self, items: Sequence[Item], rate: float) -> list[Answer]:
        """So many a second, whether answered or not: an open loop, as customers are."""
        return await self.play([(number / rate, item) for number, item in enumerate(items)])

    async def play(self, items: Sequence[tuple[float, Item]]) -> list[Answer]:
        """Each at its time, in seconds from now."""
        start = time.perf_counter()
        for offset, item in items:
            due = start + offset
            pause = due - time.perf_counter()
            if pause > 0:
                await asyncio.sleep(pause)
            self._backlog.append((item, due))
            self._hand_out()
        return await self._finish(len(items))

    async def _finish(self, count: int) -> list[Answer]:
        while len(self.answers) < count:
            self._moved.clear()
            if self.failures:
                raise BenchError(f"a message was not accepted: {self.failures[0]}")
            try:
                await asyncio.wait_for(self._moved.wait(), _PATIENCE)
            except TimeoutError:
                raise BenchError(f"no answer for {_PATIENCE:.0f} s") from None
        answers, self.answers = self.answers, []
        return answers

    def _hand_out(self) -> None:
        """The next messages to the lanes that have none; in a flood a message is due when a lane takes it."""
        while self._backlog and (lane := self._next_lane()):
            item, due = self._backlog.popleft()
            lane.take(item, time.perf_counter() if due is None else due)

    def _next_lane(self) -> Lane | None:
        # One that is closing is opened again as soon as it has closed.
        free = (number for number in reversed(range(len(self._idle))) if not self._idle[number].transport.is_closing())
        found = next(free, None)
        return None if found is None else self._idle.pop(found)

    def answered(self, lane: Lane, item: Item, due: float, answer: bytes) -> None:
        """A lane heard that its message is durable."""
        found = dict.fromkeys(_RECEIPT.findall(answer))  # a form's answer and the page it leads to name one receipt
        first = next(iter(found), b"").decode()
        self.answers.append(Answer(due, time.perf_counter(), first, max(1, len(found)), item.channel))
        self.heard += 1
        if self._bodies is not None:
            self._bodies.append(answer)
        self._moved.set()
        self._idle.append(lane)
        self._hand_out()

    def failed(self, what: str) -> None:
        """A lane heard something else."""
        self.failures.append(what)
        self._moved.set()


def _itself(lane: Lane) -> Lane:
    return lane


class Lane(asyncio.Protocol, ABC):
    """One connection with at most one message under way."""

    def __init__(self) -> None:
        self.load: Load
        self.address: tuple[str, int]
        self.transport: asyncio.Transport
        self.ready = asyncio.Event()
        self.refused = ""  # the desk's words, when it did not let us in
        self._item: Item | None = None  # sent, not answered
        self._due = 0.0
        self._heard = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected."""
        self.transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Cut off in the middle, or while there was nothing to say."""
        if self._item is not None:
            self.load.failed(f"the connection was lost: {exc or 'closed by the desk'}")
        else:
            self._heard.clear()
            self.load.hung_up(self)

    def take(self, item: Item, due: float) -> None:
        """Send a message that was due then."""
        self._item, self._due = item, due
        self.send(item)

    def settle(self, answer: bytes) -> None:
        """The message under way was accepted."""
        item, self._item = self._item, None
        if item is not None:
            self.load.answered(self, item, self._due, answer)

    @abstractmethod
    def send(self, item: Item) -> None:
        """Put one message on the wire."""


class WebLane(Lane):
    """Whole HTTP requests."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ready at once."""
        super().connection_made(transport)
        self.ready.set()

    def send(self, item: Item) -> None:
        """One request."""
        self.transport.write(item.content)

    def data_received(self, data: bytes) -> None:
        """Some of a response."""
        self._heard += data
        if (end := self._heard.find(b"\r\n\r\n")) >= 0:
            length = _LENGTH.search(self._heard, 0, end + 2)
            stop = end + 4 + (int(length[1]) if length else 0)
            if len(self._heard) < stop:
                return
            answer = bytes(self._heard[:stop])
            del self._heard[:stop]
            if not answer.startswith((b"HTTP/1.1 2", b"HTTP/1.1 303")):
                self.load.failed(answer[:1000].decode("latin-1"))
                return
            self.settle(answer)


class FormLane(WebLane):
    """POST /form/<inbox> of JSON bodies."""

    def __init__(self, inbox: str) -> None:
        super().__init__()
        self._head = (
            f"POST /form/{inbox} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: "
        ).encode()

    def send(self, item: Item) -> None:
        """One request."""
        self.transport.write(b"%s%d\r\n\r\n%s" % (self._head, len(item.content), item.content))


class MailLane(Lane):
    """EHLO once, then mail after mail."""

    def __init__(self, recipient: str) -> None:
        super().__init__()
        self._recipient = recipient
        self._expected: deque[bytes] = deque()  # replies to come for the current mail

    def send(self, item: Item) -> None:
        """The envelope; the content follows when the desk says 354."""
        recipients = item.recipients or (self._recipient,)
        self._expected.extend((b"250", *[b"250"] * len(recipients), b"354", b"250"))
        commands = [f"MAIL FROM:<{item.sender}>", *(f"RCPT TO:<{one}>" for one in recipients), "DATA", ""]
        self.transport.write("\r\n".join(commands).encode())

    def data_received(self, data: bytes) -> None:
        """Any number of reply lines."""
        self._heard += data
        while (end := self._heard.find(b"\r\n")) >= 0:
            line = bytes(self._heard[:end])
            del self._heard[: end + 2]
            if line[3:4] != b"-":
                self._reply(line)

    def _reply(self, line: bytes) -> None:
        if not self.ready.is_set():
            if line.startswith(b"220"):
                self.transport.write(b"EHLO bench.example.com\r\n")
                return
            self.refused = "" if line.startswith(b"250") else line.decode("latin-1")
            self.ready.set()
            return
        expected = self._expected.popleft() if self._expected else b""
        if not expected or not line.startswith(expected):
            self.load.failed(line.decode("latin-1"))
        elif expected == b"354" and self._item is not None:
            content = self._item.content
            ended = content if content.endswith(b"\r\n") else content + b"\r\n"
            stuffed = ended.replace(b"\r\n.", b"\r\n..")
            self.transport.write((b"." if stuffed.startswith(b".") else b"") + stuffed + b".\r\n")
        elif not self._expected:
            self.settle(line)
