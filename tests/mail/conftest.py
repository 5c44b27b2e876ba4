"""A mail server on free ports with a door that only takes notes; the real door has its own tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest

from adapters.base import Raw
from gateway.mail.limits import Limits
from gateway.mailserver import MailServer


@dataclass
class Door:
    """Stands in for `Intake`: keeps what was accepted; `answer` may raise or wait instead."""

    arrived: list[tuple[str, Raw]] = field(default_factory=list)
    answer: Callable[[str, Raw], Awaitable[None]] | None = None

    async def accept(self, inbox: Any, raw: Raw) -> list[Any]:
        if self.answer is not None:
            await self.answer(inbox.name, raw)
        self.arrived.append((inbox.name, raw))
        return [SimpleNamespace(receipt_id=uuid4(), kind="message", external_id="", draft=None)]

    @property
    def bodies(self) -> list[bytes]:
        return [raw.body for _, raw in self.arrived]


def mail_inbox(name: str, *, addresses: tuple[str, ...] = (), domain: str = "") -> Any:
    def accepts(address: str) -> bool:
        return address.lower() in addresses or bool(domain and address.lower().endswith("@" + domain))

    adapter = SimpleNamespace(accepts=accepts, options=SimpleNamespace(addresses=addresses))
    return SimpleNamespace(name=name, channel="email", adapter=adapter, options=adapter.options)


@dataclass
class Desk:
    """The running server, its door, and raw connections to it."""

    server: MailServer
    door: Door

    @property
    def smtp(self) -> tuple[str, int]:
        host, _, port = self.server.smtp_address.rpartition(":")
        return host, int(port)

    @property
    def lmtp(self) -> tuple[str, int]:
        host, _, port = self.server.lmtp_address.rpartition(":")
        return host, int(port)

    async def connect(self, *, lmtp: bool = False, hello: bool = True) -> Line:
        reader, writer = await asyncio.open_connection(*(self.lmtp if lmtp else self.smtp))
        line = Line(reader, writer)
        assert (await line.reply()).startswith("220 ")
        if hello:
            await line.say("LHLO client.example" if lmtp else "EHLO client.example")
            assert (await line.reply()).startswith("250")
        return line


@dataclass
class Line:
    """One connection, spoken by hand."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def say(self, *commands: str) -> None:
        await self.send("".join(f"{command}\r\n" for command in commands).encode())

    async def reply(self) -> str:
        """One reply, all its lines; "" at the end of the connection."""
        lines: list[str] = []
        while True:
            line = (await asyncio.wait_for(self.reader.readline(), 20)).decode()
            lines.append(line.rstrip("\r\n"))
            if line[3:4] != "-":
                return "\n".join(lines)

    async def ask(self, command: str) -> str:
        await self.say(command)
        return await self.reply()

    async def envelope(self, *recipients: str, sender: str = "erika@example.com") -> list[str]:
        """MAIL, RCPT..., DATA in one pipelined group; their replies."""
        await self.say(f"MAIL FROM:<{sender}>", *(f"RCPT TO:<{one}>" for one in recipients), "DATA")
        return [await self.reply() for _ in range(len(recipients) + 2)]

    async def rest(self) -> bytes:
        """Everything until the server closes."""
        heard = await asyncio.wait_for(self.reader.read(), 20)
        await self.close()
        return heard

    async def close(self) -> None:
        self.writer.close()
        await asyncio.gather(self.writer.wait_closed(), return_exceptions=True)


OpenDesk = Callable[..., Any]


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> dict[str, Any]:
    """Every conversation on every event loop that may be under it: their transports differ in details."""
    factories: dict[str, Any] = {"asyncio": asyncio.new_event_loop}
    if getattr(getattr(item, "module", None), "ONE_LOOP_WILL_DO", False):
        return factories
    with suppress(ImportError):
        import uvloop

        factories["uvloop"] = uvloop.new_event_loop
    return factories


@pytest.fixture
async def open_desk() -> AsyncIterator[OpenDesk]:
    """`async with open_desk(limits=..., inboxes=...) as desk`."""

    @asynccontextmanager
    async def opened(
        limits: Limits | None = None, inboxes: tuple[Any, ...] = (), **settings: Any
    ) -> AsyncIterator[Desk]:
        door = Door()
        boxes = inboxes or (mail_inbox("support", domain="desk.example"),)
        listen: dict[str, Any] = {
            "smtp_listen": "127.0.0.1:0", "lmtp_listen": "127.0.0.1:0", "smtp_tls_cert": None, "smtp_tls_key": None,
            "smtp_proxy_protocol": False, "trusted_proxies": [],
        } | settings  # fmt: skip
        runtime = SimpleNamespace(
            settings=SimpleNamespace(**listen), intake=door, inboxes={box.name: box for box in boxes}
        )
        server = MailServer(runtime, limits, hostname="mx.desk.example")  # type: ignore[arg-type]
        await server.start()
        try:
            yield Desk(server, door)
        finally:
            await server.stop()

    yield opened


@pytest.fixture
async def desk(open_desk: OpenDesk) -> AsyncIterator[Desk]:
    """A desk with one inbox that takes every address at desk.example."""
    async with open_desk() as opened:
        yield opened


def receipt_in(reply: str) -> UUID:
    """The receipt a 250 carries. Raises ValueError when it carries none."""
    assert reply.startswith("250 2.0.0 accepted as "), reply
    return UUID(reply.split()[4])
