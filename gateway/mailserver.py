"""The SMTP and LMTP listeners: open, admit, stop.

They take mail from the site's own mail server (Postfix: `transport_maps: desk.example lmtp:inet:127.0.0.1:8024`) or
straight from the network. Everything said is in `gateway.mail`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, cast

from gateway.mail import replies
from gateway.mail.delivery import mail_inboxes
from gateway.mail.limits import Limits, Roster
from gateway.mail.preamble import Proxies
from gateway.mail.session import Conversation, Hall, LmtpConversation, peer_name
from gateway.mail.tls import certificate_of

if TYPE_CHECKING:
    from gateway.runtime import Runtime

log = logging.getLogger(__name__)

UNIX_PREFIX = "unix:"


class MailServer:
    """Both listeners of one process. `settings.smtp_listen` and `.lmtp_listen` are `host:port`, empty for off; LMTP
    also takes `unix:/path`. Port 0 lets the system choose; `smtp_address` and `lmtp_address` say what it chose."""

    def __init__(self, runtime: Runtime, limits: Limits | None = None, hostname: str = "") -> None:
        self._runtime = runtime
        self._limits = limits or Limits(message=_largest(runtime))
        settings = runtime.settings
        certificate = certificate_of(settings.smtp_tls_cert, settings.smtp_tls_key)
        self._hall = Hall(runtime, self._limits, hostname or socket.gethostname(), certificate)
        self._proxies = Proxies(settings.trusted_proxies if settings.smtp_proxy_protocol else ())
        self._roster = Roster(self._limits)
        self._conversations: set[Conversation] = set()
        self._servers: list[asyncio.Server] = []
        self._all_gone = asyncio.Event()
        self._socket_path: Path | None = None
        self.smtp_address = ""
        self.lmtp_address = ""

    @property
    def connections(self) -> int:
        """How many clients are connected now."""
        return len(self._roster)

    async def start(self) -> None:
        """Open what is configured. Raises OSError when an address is taken, ValueError when it cannot be read."""
        settings = self._runtime.settings
        try:
            self.smtp_address = await self._listen(settings.smtp_listen, Conversation)
            self.lmtp_address = await self._listen(settings.lmtp_listen, LmtpConversation)
        except BaseException:
            await self.stop()
            raise

    async def _listen(self, address: str, conversation: type[Conversation]) -> str:
        if not address:
            return ""
        loop = asyncio.get_running_loop()

        def usher() -> Usher:
            return Usher(self, conversation)

        if address.startswith((UNIX_PREFIX, "/")):
            self._socket_path = Path(address.removeprefix(UNIX_PREFIX))
            _remove_stale(self._socket_path)
            self._servers.append(await loop.create_unix_server(usher, str(self._socket_path)))
            return f"{UNIX_PREFIX}{self._socket_path}"
        host, port = split_listen(address)
        server = await loop.create_server(usher, host or None, port, backlog=256)
        self._servers.append(server)
        bound = server.sockets[0].getsockname()
        return f"[{bound[0]}]:{bound[1]}" if ":" in bound[0] else f"{bound[0]}:{bound[1]}"

    def welcome(self, transport: asyncio.Transport, conversation: type[Conversation]) -> None:
        """Begin the conversation, or say why not."""
        peer = peer_name(transport.get_extra_info("peername"))
        proxied = conversation is Conversation and peer in self._proxies
        seat = Seat(self._roster, "" if proxied else peer)
        refusal = "this server is being restarted" if self._hall.stopping else seat.take()
        if refusal:
            transport.write(replies.too_many_connections(refusal).encode() + b"\r\n")
            transport.close()
            return
        protocol = conversation(self._hall, self._forgetter(seat), seat.give if proxied else None)
        self._conversations.add(protocol)
        transport.set_protocol(protocol)
        protocol.connection_made(transport)

    def _forgetter(self, seat: Seat) -> Callable[[Conversation], None]:
        def leave(conversation: Conversation) -> None:
            if conversation in self._conversations:
                self._conversations.discard(conversation)
                seat.leave()
                if self._hall.stopping and not self._conversations:
                    self._all_gone.set()

        return leave

    async def stop(self) -> None:
        """No new clients; idle ones hear 421; messages in hand get `limits.grace` seconds to be stored and answered."""
        self._hall.stopping = True
        for server in self._servers:
            server.close()
        for conversation in list(self._conversations):
            if not conversation.in_delivery:
                conversation.hang_up(replies.STOPPING)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._limits.grace):
                if self._hall.deliveries:
                    await asyncio.wait(self._hall.deliveries)
                if self._conversations:
                    await self._all_gone.wait()
        for conversation in list(self._conversations):
            if conversation.transport is not None:
                conversation.transport.abort()
        if self._conversations:
            await self._all_gone.wait()  # `connection_lost` of the aborted ones, at once
        for server in self._servers:
            # On 3.12 and later this waits for every client; they are gone by now.
            await server.wait_closed()
        self._servers.clear()
        if self._socket_path is not None:
            self._socket_path.unlink(missing_ok=True)


class Seat:
    """One connection's place on the roster. A proxy's is counted for its client once that is known."""

    def __init__(self, roster: Roster, peer: str) -> None:
        self._roster = roster
        self._peer = peer

    def take(self) -> str:
        """Why there is no place, or ""."""
        return self._roster.admit(self._peer)

    def give(self, client: str) -> str:
        """To the client behind the proxy: why it may not come in, or ""."""
        refusal = self._roster.move(self._peer, client)
        if not refusal:
            self._peer = client
        return refusal

    def leave(self) -> None:
        """The connection is over."""
        self._roster.leave(self._peer)


class Usher(asyncio.Protocol):
    """Stands at the door until the listener has decided; costs nothing when a flood is turned away."""

    def __init__(self, server: MailServer, conversation: type[Conversation]) -> None:
        self._server = server
        self._conversation = conversation

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Hand the connection over."""
        # A stream server makes no other kind; uvloop's are not instances of the class, though they have its methods.
        self._server.welcome(cast(asyncio.Transport, transport), self._conversation)


def _largest(runtime: Runtime) -> int:
    """What any mail inbox takes; each refuses more than its own `max_bytes` by itself."""
    sizes = [getattr(inbox.options, "max_bytes", Limits.message) for inbox in mail_inboxes(runtime)]
    return max(sizes, default=Limits.message)


def split_listen(address: str) -> tuple[str, int]:
    """`host:port`, `[::1]:port` or `:port` (every interface). Raises ValueError with a sentence."""
    host, separator, port = address.rpartition(":")
    if not separator or not port.isdecimal() or int(port) > 65_535:
        raise ValueError(f"{address!r} is not host:port, as in 127.0.0.1:8025")
    return host.strip("[]"), int(port)


def _remove_stale(path: Path) -> None:
    """A socket left behind by a killed process; anything else at that path is not ours to remove."""
    if path.is_socket():
        path.unlink()
