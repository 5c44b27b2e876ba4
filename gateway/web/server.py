"""The listening side: aiohttp's server with deadlines of its own, so that a stranger's half request costs 10 seconds.

aiohttp closes a connection that is silent between requests (`keepalive_timeout`) and leaves one alone that sends its
headers a byte at a time. Bodies have their deadline in `limits.read_body`.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import Counter
from typing import Any, Final

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from gateway.web.keys import LIMITS
from gateway.web.limits import Limits, client_key, is_loopback

log: Final = logging.getLogger(__name__)

HEADER_DEADLINE: Final = 10.0  # seconds from the first byte of a request to the end of its headers
IDLE: Final = 75.0  # seconds between requests; longer than the 60 s after which common proxies close on their side
GRACE: Final = 10.0  # seconds for requests under way when we stop
MOST_CONNECTIONS: Final = 250  # from one address; proxies and loopback are not counted
_UNREAD: Final = 60_000  # milliseconds in which a peer has to take something of what waits for it


class PatientHandler(web.RequestHandler):
    """One connection. Counts the seconds that the headers of a request take."""

    __slots__ = ("_deadline", "_header_timer")

    def __init__(self, manager: web.Server, *, deadline: float = HEADER_DEADLINE, **kwargs: Any) -> None:
        super().__init__(manager, **kwargs)
        self._deadline = deadline
        self._header_timer: asyncio.TimerHandle | None = None

    def data_received(self, data: bytes) -> None:
        """After aiohttp has parsed what it can: are we still waiting for the end of the headers?"""
        super().data_received(data)
        if not self._is_waiting():
            self._stop_timer()
        elif self._header_timer is None:
            self._header_timer = self._loop.call_later(self._deadline, self._give_up)

    def connection_lost(self, exc: BaseException | None) -> None:
        """The peer has gone."""
        self._stop_timer()
        super().connection_lost(exc)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """What is not HTTP: one line of log, no traceback, and nothing of it repeated in the answer."""
        if status >= 500 or not isinstance(exc, HttpProcessingError):
            return super().handle_error(request, status, exc, message)
        log.info("unreadable request from %s: %s", request.remote, type(exc).__name__)
        if request.writer.output_size > 0:
            raise ConnectionError("an answer is under way already")
        sentence = "This is not a well-formed HTTP request."
        answer = web.Response(status=status, text=sentence, headers={"Server": "Frontdesk"})
        answer.force_close()
        return answer

    def _is_waiting(self) -> bool:
        return self._waiter is not None and not self._waiter.done()

    def _give_up(self) -> None:
        self._header_timer = None
        if self._is_waiting():
            self.force_close()

    def _stop_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None


class PatientServer(web.Server):
    """Makes the connections' handlers and caps the connections of one address."""

    limits: Limits
    peers: Counter[str]
    deadline: float

    def __call__(self) -> web.RequestHandler:
        return PatientHandler(self, deadline=self.deadline, loop=self._loop, **self._kwargs)

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        """One more connection; too many from one address are cut without an answer."""
        super().connection_made(handler, transport)
        _hurry(transport.get_extra_info("socket"))
        key = self._key(transport)
        self.peers[key] += 1
        if key and self.peers[key] > MOST_CONNECTIONS:
            transport.abort()

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        """One fewer."""
        transport = self._connections.get(handler)
        if transport is not None:
            key = self._key(transport)
            self.peers[key] -= 1
            if self.peers[key] <= 0:
                del self.peers[key]
        super().connection_lost(handler, exc)

    def _key(self, transport: asyncio.Transport) -> str:
        """What is counted; empty for peers without a cap."""
        peer = transport.get_extra_info("peername")
        address = str(peer[0]) if isinstance(peer, tuple) else ""
        return "" if is_loopback(address) or self.limits.trusts(address) else client_key(address)


class PatientRunner(web.AppRunner):
    """aiohttp's runner with our server in the place of its own."""

    def __init__(self, app: web.Application, *, deadline: float = HEADER_DEADLINE, **kwargs: Any) -> None:
        super().__init__(app, **kwargs)
        self._deadline = deadline

    async def _make_server(self) -> web.Server:
        server = await super()._make_server()
        # aiohttp offers no way to choose the class, and building the server ourselves would need more of its insides.
        server.__class__ = PatientServer
        patient: Any = server
        patient.limits, patient.peers, patient.deadline = self.app[LIMITS], Counter(), self._deadline
        return server


def make_runner(app: web.Application, *, deadline: float = HEADER_DEADLINE, grace: float = GRACE) -> web.AppRunner:
    """The runner to serve an application with; call `setup`, start sites on it, `cleanup` in the end.

    `auto_decompress` is off: compressed bodies are refused before a byte is inflated (`limits.refuse_encoding`).
    """
    return PatientRunner(
        app, deadline=deadline, keepalive_timeout=IDLE, auto_decompress=False, access_log=None, shutdown_timeout=grace
    )


async def listen(app: web.Application, host: str, port: int, **options: Any) -> tuple[web.AppRunner, int]:
    """Serve on host and port (0: any free one); the runner to clean up and the port. Raises OSError."""
    runner = make_runner(app, **options)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError:
        await runner.cleanup()
        raise
    return runner, int(runner.addresses[0][1])


def _hurry(sock: socket.socket | None) -> None:
    """Who asks and never reads the answer keeps no place: the kernel also counts while a window stays shut (tcp(7))."""
    if sock is not None and sock.family != socket.AF_UNIX and hasattr(socket, "TCP_USER_TIMEOUT"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNREAD)
