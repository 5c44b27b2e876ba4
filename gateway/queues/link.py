"""One connection to RabbitMQ that is made again whenever it is lost.

aiormq, the protocol half of aio-pika, is used directly. aio-pika's robust objects restore themselves in the background
but replay no publish, and on the way cost a third of the client's CPU; here a lost connection is an event the queue
handles itself: what was in flight failed, what was delivered comes again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import aiormq
from aiormq.channel import Channel
from yarl import URL

from gateway.queues.base import QueueUnavailableError
from gateway.queues.tap import TappedConnection
from gateway.queues.topology import Topology

_log = logging.getLogger(__name__)

_CONNECT_SECONDS: Final = 10.0
_PREPARE_SECONDS: Final = 45.0  # declaring is some forty round trips, which a line of half a second each has to allow
_FIRST_PAUSE: Final = 0.2  # seconds before the second attempt, doubled each time
_LONGEST_PAUSE: Final = 10.0
_DECLARE_PAUSE: Final = 5.0  # seconds between two attempts to bring back what somebody deleted
# Before 4.0 RabbitMQ confirms what a new quorum queue has, and knows after a crash nothing of the queue: its name is
# on disk a second or two later (https://github.com/rabbitmq/ra/pull/443). A queue that is not bound is given nothing.
_PROVEN: Final = 5.0  # seconds from declaring a queue to binding it
_KEEPS_NAMES: Final = 4  # the first major version that has them on disk at once

# What aiormq raises when a connection or channel is gone. RuntimeError: "... closed", its ChannelInvalidStateError too.
# StopAsyncIteration: the other side had hung up before it was first listened to (its FrameReceiver.get_frame).
LOST: Final = (aiormq.exceptions.AMQPError, OSError, RuntimeError, EOFError, TimeoutError, StopAsyncIteration)


class Link:
    """Keeps a connection open and its topology declared.

    `on_open(connection)` prepares what each new connection is for and returns the channels it cannot do without;
    `on_lost()` is told when one of them, or the connection, is gone.
    """

    def __init__(
        self,
        url: str,
        topology: Topology,
        *,
        purpose: str,
        heartbeat: int,
        on_open: Callable[[TappedConnection], Awaitable[Sequence[Channel]]],
        on_lost: Callable[[], None],
    ) -> None:
        self._url = URL(url).update_query(heartbeat=str(heartbeat), name=f"frontdesk {purpose}")
        self._topology = topology
        self._purpose = purpose
        self._on_open = on_open
        self._on_lost = on_lost
        self._connection: TappedConnection | None = None
        self._settled = asyncio.Event()  # the first attempt has ended, well or badly
        self._broken: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._declaring: asyncio.Task[None] | None = None
        self._binding: asyncio.Task[None] | None = None
        self.trouble = "not connected yet"

    @property
    def address(self) -> str:
        """Where the broker is, without credentials."""
        return f"{self._url.host}:{self._url.port or 5672}{self._url.path}"

    def start(self) -> None:
        """Begin to connect, in the background."""
        # The library logs every lost connection with a traceback; we log it once, as a sentence.
        logging.getLogger("aiormq").setLevel(logging.CRITICAL)
        self._task = asyncio.create_task(self._keep_open(), name=f"rabbitmq {self._purpose}")

    async def close(self) -> None:
        """Close the connection for good."""
        tasks = [task for task in (self._task, self._declaring, self._binding) if task is not None]
        self._task = self._declaring = self._binding = None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.trouble = "closed"
        self._settled.set()

    async def connection(self) -> TappedConnection:
        """The open connection. Waits for the very first attempt only; raises QueueUnavailableError when it is down."""
        if self._connection is None and self._task is not None:
            await self._settled.wait()
        if self._connection is None or self._connection.is_closed:
            raise QueueUnavailableError(f"RabbitMQ at {self.address}: {self.trouble}")
        return self._connection

    def break_off(self, reason: str) -> None:
        """Give the connection up and make a new one."""
        if self._broken is not None and not self._broken.done():
            self._broken.set_exception(ConnectionError(reason))

    def declare_again(self) -> None:
        """Something we declared is gone: declare it once more, soon, and not more often than every few seconds."""
        under_way = any(task is not None and not task.done() for task in (self._declaring, self._binding))
        if self._task is not None and not under_way:
            self._declaring = asyncio.create_task(self._declare_again(), name="rabbitmq declare again")

    async def _declare_again(self) -> None:
        # A worker whose queue was deleted declares it at once, and RabbitMQ 3.10 is not good at two who do so together.
        await asyncio.sleep(_DECLARE_PAUSE * random.uniform(0.5, 1.0))  # noqa: S311
        connection = self._connection
        try:
            if connection is not None:
                await self._declare(connection)
                _log.warning("RabbitMQ at %s: declared queues and bindings again", self.address)
        except LOST as error:
            _log.error("RabbitMQ at %s: cannot declare queues again: %s", self.address, describe(error))
        except asyncio.CancelledError:
            if is_cancelled():
                raise

    async def _declare(self, connection: TappedConnection) -> None:
        async with asyncio.timeout(_PREPARE_SECONDS):
            await declare(connection, self._topology)
            if not forgets_names(connection):
                await bind(connection, self._topology)
                return
        if self._binding is None or self._binding.done():
            self._binding = asyncio.create_task(self._bind_late(connection), name="rabbitmq bind")

    async def _bind_late(self, connection: TappedConnection) -> None:
        """Bind what was declared just now, perhaps for the first time, once a crash of the broker cannot undo that."""
        await asyncio.sleep(_PROVEN)
        try:
            async with asyncio.timeout(_PREPARE_SECONDS):
                await bind(connection, self._topology)
        except Exception as error:  # whatever it is: nothing would reach the queues
            self.break_off(describe(error))

    async def _keep_open(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            reached = await self._hold_once()
            self._settled.set()
            if is_cancelled():  # the library turned it into an error of its own, or it met us while we hung up
                return
            pause = _FIRST_PAUSE if reached else min(pause * 2, _LONGEST_PAUSE)
            # Spread out: all gateways lose the broker at the same moment.
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311

    async def _hold_once(self) -> bool:
        """Connect and stay until the connection is lost. Whether it was reached at all."""
        connection = TappedConnection(self._url)
        self._broken = asyncio.get_running_loop().create_future()
        reached = False
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                await connection.connect()
            await self._declare(connection)
            async with asyncio.timeout(_PREPARE_SECONDS):
                vital = await self._on_open(connection)
            reached = True
            _let_go()
            self._connection = connection
            self.trouble = ""
            self._settled.set()
            _log.info("RabbitMQ at %s: connected to %s", self.address, self._purpose)
            # The broker may close one channel and keep the connection: an ack that took longer than its
            # consumer_timeout, a queue that was deleted. Everything is made anew then.
            ends = [self._broken, connection.closing, *(channel.closing for channel in vital)]
            done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            causes = [_cause_of(end) for end in done]
            self._report(describe(causes[0]))
        except LOST as error:
            self._report(describe(error))
        except asyncio.CancelledError:
            if is_cancelled():
                raise
            self._report("the connection was lost")
        except Exception as error:  # whatever else the library thinks of: a link that ends would never be made again
            _log.exception("RabbitMQ at %s, to %s: an error that nobody expects", self.address, self._purpose)
            self._report(describe(error))
        finally:
            self._connection = None
            self._on_lost()
            if self._binding is not None:
                self._binding.cancel()
            with contextlib.suppress(Exception, asyncio.CancelledError):  # of a broken connection it may say anything
                await connection.close(timeout=2)
        return reached

    def _report(self, trouble: str) -> None:
        if trouble != self.trouble:
            _log.error("RabbitMQ at %s, to %s: %s; trying again", self.address, self._purpose, trouble)
        self.trouble = trouble


async def declare(connection: TappedConnection, topology: Topology) -> None:
    """Declare exchanges and queues. Raises ChannelPreconditionFailed when one exists with other arguments."""
    channel = await connection.channel()
    for exchange in topology.exchanges:
        await channel.exchange_declare(exchange.name, exchange_type=exchange.type, durable=True)
    for queue in topology.queues:
        await channel.queue_declare(queue.name, durable=True, arguments=queue.arguments)
    await channel.close()


async def bind(connection: TappedConnection, topology: Topology) -> None:
    """From now on what is published reaches the queues."""
    channel = await connection.channel()
    for queue in topology.queues:
        await channel.queue_bind(queue.name, queue.exchange, queue.binding)
    await channel.close()


def forgets_names(connection: TappedConnection) -> bool:
    """A broker that does not say its version may be of any age."""
    version: object = dict(connection.server_properties).get("version", "")
    major = str(version).partition(".")[0]
    return not major.isdecimal() or int(major) < _KEEPS_NAMES


def describe(error: BaseException | None) -> str:
    """A sentence for the log and for `frontdesk check`."""
    match error:
        case aiormq.exceptions.ChannelPreconditionFailed():
            return (
                f"a queue or exchange exists with other arguments than this version declares ({error}). "
                "Nothing is published there until it is drained and deleted, or the setting is put back"
            )
        case aiormq.exceptions.ProbableAuthenticationError() | aiormq.exceptions.AuthenticationError():
            return "it refused the user name or the password"
        case aiormq.exceptions.ChannelAccessRefused() | aiormq.exceptions.ConnectionNotAllowed():
            return f"the user may not do this: {error}"
        case aiormq.exceptions.InvalidFrameError() if "Connection.OpenOk" in str(error):
            # The answer to Connection.Open was Connection.Close; aiormq drops the words in it (connection.py).
            return "it refuses this user the virtual host, or has none of that name"
        case TimeoutError():
            return "it accepts the connection but does not answer"
        case StopAsyncIteration():
            return "it hung up before it said anything"
        case None:
            return "the connection was closed"
        case _:
            return f"{error}" or type(error).__name__


def _cause_of(end: asyncio.Future[None]) -> BaseException | None:
    return None if end.cancelled() else end.exception()


def _let_go() -> None:
    """Raises CancelledError for one that the library has kept: `asyncio.wait_for` of Python 3.11, which it uses, drops
    a cancellation that comes together with the answer (https://github.com/python/cpython/issues/86296)."""
    if is_cancelled():
        raise asyncio.CancelledError


def is_cancelled() -> bool:
    """Whether somebody asked the current task to stop. aiormq raises CancelledError for a dying connection as well."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
