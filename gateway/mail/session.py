"""One SMTP or LMTP conversation: aiosmtpd's commands with the parts replaced that would lose or refuse real mail.

Replaced, and why: the loop around the commands (`gateway.mail.dialogue`); the DATA reader (`gateway.mail.data`);
replies without enhanced codes (RFC 2034); `500` with the exception's text for anything unexpected, on which senders
bounce the mail; the address parser, which takes quadratic time on crafted input; one LMTP reply for all recipients
where RFC 2033 wants one each; the cancellation of a delivery when the client hangs up (the message may already be on
its way to the queue, and a half-closed client still listens).
"""

from __future__ import annotations

import asyncio
import collections
import logging
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from aiosmtpd.lmtp import LMTP
from aiosmtpd.smtp import SMTP, Envelope, Session

from gateway.mail import replies
from gateway.mail.addresses import split_path
from gateway.mail.data import Fate, read_message
from gateway.mail.delivery import deliver, for_transaction, inbox_for
from gateway.mail.dialogue import Dialogue
from gateway.mail.limits import Budget, Lease, Limits
from gateway.mail.preamble import BadPreambleError, read_client
from gateway.mail.tls import Certificate

if TYPE_CHECKING:
    from gateway.intake import Inbox
    from gateway.runtime import Runtime

log = logging.getLogger(__name__)
# The library logs every command at INFO, addresses included; what matters is logged here.
logging.getLogger("mail.log").setLevel(logging.ERROR)

UNLIMITED = 1 << 62
# Commands that only waste time are counted; mail itself may go on for ever on one connection.
CALLS = {"*": 50, "NOOP": 1000, "AUTH": 3} | dict.fromkeys(("MAIL", "RCPT", "DATA", "RSET", "QUIT"), UNLIMITED)


Leave = Callable[["Conversation"], None]
Admit = Callable[[str], str]  # the real client's address -> why it may not come in, or ""


class Hall:
    """What all conversations of a process share."""

    def __init__(self, runtime: Runtime, limits: Limits, hostname: str, certificate: Certificate | None = None) -> None:
        self.runtime = runtime
        self.limits = limits
        self.hostname = hostname
        self.certificate = certificate
        self.budget = Budget(limits.transit)
        self.stopping = False
        self.deliveries: set[asyncio.Task[list[str]]] = set()  # strong references: the loop keeps only weak ones


class Hooks:
    """aiosmtpd's handler: greetings and the two decisions about an envelope."""

    def __init__(self, hall: Hall) -> None:
        self._hall = hall

    async def handle_EHLO(
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        """Announce what is really supported (PIPELINING is, though the library does not say so)."""
        session.host_name = replies.one_line(hostname, 255)
        features = [f"SIZE {self._hall.limits.message}", "8BITMIME", "SMTPUTF8", "PIPELINING"]
        if self._hall.certificate is not None and session.ssl is None:
            features.append("STARTTLS")
        lines = [f"250-{line}" for line in (self._hall.hostname, *features)]
        return ["\r\n".join([*lines, "250 ENHANCEDSTATUSCODES"])]

    async def handle_HELO(self, server: SMTP, session: Session, envelope: Envelope, hostname: str) -> str:
        """Remember the name for the record."""
        session.host_name = replies.one_line(hostname, 255)
        return f"250 {self._hall.hostname}"

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Refuse by announced size at once, so that a big mail is not sent in vain."""
        announced = next((option[5:] for option in options if option.startswith("SIZE=")), "0")
        if int(announced[:19]) > self._hall.limits.message:
            return replies.too_big(self._hall.limits.message)
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 2.1.0 Sender ok"

    async def handle_RCPT(
        self, server: Conversation, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Only addresses of a configured mail inbox; this is no relay."""
        if len(envelope.rcpt_tos) >= self._hall.limits.recipients:
            return server.refuse(replies.too_many_recipients(self._hall.limits.recipients))
        inbox = inbox_for(self._hall.runtime, address)
        if inbox is None:
            return server.refuse(replies.no_such_inbox(address))
        envelope.rcpt_tos.append(address)
        server.takers.append((address, inbox))
        return replies.RECIPIENT_OK


class Conversation(Dialogue):
    """SMTP. `LmtpConversation` adds the other greeting and a reply per recipient."""

    envelope: Envelope

    # Long addresses, long parameters (RFC 6531, SIZE) and long host names; beyond that it is not mail.
    command_size_limit = 2048
    # The stream's chunk size; lines of a message may be of any length.
    line_length_limit = 65_536
    protocol_name = "smtp"
    ident = "ESMTP"

    def __init__(self, hall: Hall, leave: Leave, admit: Admit | None = None) -> None:
        self.hall = hall
        self._admit = admit  # set: the peer is a proxy, and says first who the client is
        self.takers: list[tuple[str, Inbox]] = []
        self.in_delivery = False
        self._lost = False
        self._refusals = 0
        self._leave = leave
        # The library's table is shared by all connections and emptied by every new one.
        self.command_size_limits = collections.defaultdict(lambda: Conversation.command_size_limit)
        super().__init__(
            Hooks(hall),
            data_size_limit=None,  # counted by our own reader, announced by our own EHLO
            enable_SMTPUTF8=True,
            hostname=hall.hostname,
            ident=self.ident,
            timeout=hall.limits.idle,
            calls=CALLS,
            loop=asyncio.get_running_loop(),
        )

    # Connection ------------------------------------------------------------------------------------------------

    def connection_lost(self, error: Exception | None) -> None:
        """Free the place, once; a delivery under way goes on by itself."""
        if self._lost:
            return
        self._lost = True
        super().connection_lost(error)
        self._leave(self)

    def eof_received(self) -> bool | None:
        """A client that has shut down its sending side (`nc -N`) still listens: answer what it sent, then close."""
        if self.session.ssl is not None:
            return super().eof_received()
        return asyncio.StreamReaderProtocol.eof_received(self)

    def refuse(self, reply: str) -> str:
        """Count a recipient that is refused; a connection that brings little else ends."""
        self._refusals += 1
        if self._refusals > self.hall.limits.refusals:
            self.hang_up(replies.TOO_MANY_REFUSALS)
        return reply

    async def handle_exception(self, error: Exception) -> str:
        """Anything unexpected is our trouble: temporary, and nobody's business in detail."""
        if isinstance(error, asyncio.IncompleteReadError):  # the client has left, or said all it wanted to say
            self.hang_up(replies.GOODBYE)
            return replies.GOODBYE  # written to nobody
        log.error("mail conversation failed, client was told to try again", exc_info=error)
        return replies.TROUBLE

    async def _handle_client(self) -> None:
        if self._admit is None or await self._meet_client(self._admit):
            await super()._handle_client()

    async def _meet_client(self, admit: Admit) -> bool:
        """Read the proxy's preamble; whether its client may come in."""
        try:
            client = await read_client(self._reader)
        except BadPreambleError as error:
            log.warning("a trusted proxy was turned away: %s", replies.one_line(str(error)))
            self.hang_up(replies.NO_PREAMBLE)
            return False
        if client is None:
            return True
        refusal = admit(client[0])
        if refusal:
            self.hang_up(replies.too_many_connections(refusal))
            return False
        self.session.peer = client  # type: ignore[assignment]  # a socket's address, as for everybody else
        return True

    # Commands --------------------------------------------------------------------------------------------------

    def _set_post_data_state(self) -> None:
        self.envelope = self._create_envelope()
        self.takers = []

    def _getaddr(self, arg: str) -> tuple[str | None, str | None]:
        return split_path(arg)

    async def smtp_STARTTLS(self, arg: str) -> None:
        """Go on encrypted (RFC 3207). Whatever was said before is forgotten, sent ahead of the handshake or not."""
        certificate = self.hall.certificate
        if arg:
            await self.push("501 5.5.4 Syntax: STARTTLS")
        elif certificate is None:
            await self.push("454 4.7.0 TLS is not available here")
        elif self.session.ssl is not None:
            await self.push("503 5.5.1 TLS is active already")
        else:
            await self._encrypt(certificate.context())

    async def _encrypt(self, context: ssl.SSLContext) -> None:
        """The library's own way is tied to one release of asyncio's internals; this one is public since 3.7."""
        plain = self.transport
        if plain is None:
            return
        self._stop_timer()  # its last words would be written into the handshake
        plain.pause_reading()  # the client's hello belongs to the new layer
        await self.push(replies.START_TLS)
        self._reader._buffer.clear()  # type: ignore[attr-defined]  # CVE-2011-0411: commands sent ahead of TLS
        try:
            transport = await self.loop.start_tls(
                plain,
                self,
                context,
                server_side=True,
                ssl_handshake_timeout=self.hall.limits.handshake,
                ssl_shutdown_timeout=5.0,
            )
        except (OSError, asyncio.IncompleteReadError) as error:
            log.info("TLS handshake failed: %s", getattr(error, "reason", None) or type(error).__name__)
            plain.abort()
            self.connection_lost(None)  # asyncio tells nobody when a handshake has timed out
            raise asyncio.CancelledError from None  # the conversation is over; nobody can hear a reply
        if transport is None:
            raise asyncio.CancelledError
        peer, self.session = self.session.peer, self._create_session()
        self.session.peer = peer
        self.session.ssl = {name: transport.get_extra_info(name) for name in ("cipher", "peercert", "sslcontext")}
        self.transport = self._writer._transport = self._reader._transport = transport  # type: ignore[attr-defined]
        self._over_ssl = True
        self._reader._buffer.clear()  # type: ignore[attr-defined]
        self._set_post_data_state()
        self._reset_timeout()

    async def smtp_VRFY(self, arg: str) -> None:
        """Addresses are not given away (RFC 5321 7.3)."""
        await self.push("252 2.5.0 Cannot verify; send the mail and see")

    async def smtp_EXPN(self, arg: str) -> None:
        """The same."""
        await self.push("252 2.5.0 Cannot expand; send the mail and see")

    async def _refuse_http(self, arg: str) -> None:
        """A browser was lured into posting to us; its next lines might be SMTP commands."""
        self.hang_up(replies.NOT_HTTP)

    smtp_GET = smtp_HEAD = smtp_POST = smtp_PUT = smtp_OPTIONS = smtp_CONNECT = _refuse_http

    async def smtp_DATA(self, arg: str) -> None:
        """Read the message, make it durable, answer. The client hears 250 only after that."""
        if await self.check_helo_needed():
            return
        if not self.takers:
            await self.push(replies.NEED_RCPT)
            return
        if arg:
            await self.push("501 5.5.4 Syntax: DATA")
            return
        await self.push(replies.GO_AHEAD)
        limits = self.hall.limits
        self._reset_timeout(limits.data)
        with self.hall.budget.lease() as lease:
            try:
                fate, content = await read_message(self._reader, limits.message, lease, limits.chunk)
            except TimeoutError:
                self.hang_up(replies.TIMED_OUT)
                return
            self._reset_timeout(limits.data)
            await self._answer(fate, content, lease)
        self._set_post_data_state()
        if self.hall.stopping:
            self.hang_up(replies.STOPPING)

    async def _answer(self, fate: Fate, content: bytes, lease: Lease) -> None:
        too_big = replies.too_big(self.hall.limits.message)
        if fate is Fate.ENDLESS:
            self.hang_up(too_big)
        elif fate is Fate.TOO_BIG:
            await self.push(self.final_reply([too_big] * len(self.takers)))
        elif fate is Fate.CROWDED:
            await self.push(self.final_reply([replies.CROWDED] * len(self.takers)))
        else:
            await self.push(self.final_reply(await self._deliver(content, lease)))

    async def _deliver(self, content: bytes, lease: Lease) -> list[str]:
        task = asyncio.create_task(deliver(self.hall.runtime, content, self._facts(), tuple(self.takers)))
        lease.work = task
        self.hall.deliveries.add(task)
        task.add_done_callback(self.hall.deliveries.discard)
        self.in_delivery = True
        try:
            return await asyncio.shield(task)
        finally:
            self.in_delivery = False

    def _facts(self) -> dict[str, Any]:
        sender = self.envelope.mail_from or ""
        return {
            "mail_from": "" if sender == "<>" else sender,
            "remote": peer_name(self.session.peer),
            "helo": self.session.host_name or "",
            "protocol": self.protocol_name,
        }

    def final_reply(self, lines: list[str]) -> str:
        """The reply after the final dot, from one line a recipient."""
        return for_transaction(lines)


class LmtpConversation(Conversation, LMTP):
    """LMTP (RFC 2033): LHLO, and after the dot one reply for every recipient that was accepted."""

    protocol_name = "lmtp"
    ident = "LMTP"

    async def check_helo_needed(self, helo: str = "LHLO") -> bool:
        """Name the right command."""
        return bool(await super().check_helo_needed("LHLO"))

    def final_reply(self, lines: list[str]) -> str:
        """Section 4.2: in the order of RCPT."""
        return "\r\n".join(lines)


def peer_name(peer: Any) -> str:
    """The address in a socket's peer name; "" for a Unix socket."""
    return str(peer[0]) if isinstance(peer, tuple) and peer else ""
