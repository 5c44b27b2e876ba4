"""What the tests of reading mailboxes share: mails, a reader without a poller, and a whole desk around one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import func, select, update

from adapters.base import Raw
from adapters.email import Email, EmailOptions
from gateway.poller import Lease, poll_once
from gateway.runtime import Runtime
from gateway.settings import Settings
from gateway.store import cursors, tables
from gateway.worker.consume import Worker


def mail(number: int | str, *, text: str = "hello") -> bytes:
    return (
        f"From: Customer <customer{number}@example.org>\r\nTo: desk@example.com\r\nSubject: case {number}\r\n"
        f"Date: Mon, 2 Mar 2020 10:00:00 +0100\r\nMessage-ID: <{number}@example.org>\r\n\r\n{text} {number}\r\n"
    ).encode()


def mails(*numbers: int | str) -> list[bytes]:
    return [mail(number) for number in numbers]


def number_of(body: bytes) -> str:
    return body.partition(b"Message-ID: <")[2].partition(b"@")[0].decode()


@dataclass
class Reader:
    """Polls as the poller does, and keeps what came. `reads` makes a new adapter, as a new process would."""

    imap: dict[str, Any]
    cursor: str = ""
    arrived: list[Raw] = field(default_factory=list)
    adapter: Email | None = None

    async def poll(self, *, refuse: Sequence[str] = (), pages: int | None = None) -> list[str]:
        """The numbers of the mails that came, in order. `pages`: the poller dies when it has accepted so many."""
        if self.adapter is None:
            self.adapter = Email("support", EmailOptions.model_validate({"imap": self.imap}))
        came: list[str] = []
        steps: Any = self.adapter.poll(self.cursor)
        try:
            async for page in steps:
                for raw in page.arrivals:
                    if number_of(raw.body) in refuse:
                        page.refused.append(raw)
                        continue
                    came.append(number_of(raw.body))
                    self.arrived.append(raw)
                self.cursor = page.cursor
                if pages is not None and (pages := pages - 1) == 0:
                    break
        finally:
            await steps.aclose()
        return came

    async def forget(self) -> None:
        """End the process."""
        if self.adapter is not None:
            await self.adapter.close()
            self.adapter = None


@asynccontextmanager
async def reading(imap: dict[str, Any]) -> AsyncIterator[Reader]:
    reader = Reader(imap)
    try:
        yield reader
    finally:
        await reader.forget()


@dataclass
class Desk:
    """The real queue, store and door around one mailbox."""

    runtime: Runtime

    async def poll(self) -> int:
        """One poll of the mailbox; how many arrivals were accepted."""
        lease = Lease(self.runtime, "support")
        assert await lease.take()
        return await poll_once(self.runtime, self.runtime.inboxes["support"], lease)

    async def record(self) -> dict[str, int]:
        """Record everything accepted; how many receipts ended how."""
        stop = asyncio.Event()
        worker = asyncio.create_task(Worker(self.runtime.queue, self.runtime.store).run(stop))
        try:
            async with asyncio.timeout(20):
                while (await self.runtime.queue.depth()).waiting:
                    await asyncio.sleep(0.02)
        finally:
            stop.set()
            await worker
        return await self.runtime.store.read(_outcomes)

    async def free_lease(self) -> None:
        """A killed poller's lease runs out by itself; nobody wants to wait for that here."""
        await self.runtime.store.write(_free_lease)

    async def cursor(self) -> str:
        return await self.runtime.store.read(cursors.read_cursor, "support")

    async def column(self, table: str, name: str) -> list[Any]:
        return await self.runtime.store.read(_column, table, name)


@asynccontextmanager
async def desk_at(folder: Path, imap: dict[str, Any], **options: Any) -> AsyncIterator[Desk]:
    inboxes = {"support": {"channel": "email", "imap": imap, **options}}
    runtime = Runtime(Settings.model_validate({"data_dir": folder, "inboxes": inboxes}))
    await runtime.migrate()
    await runtime.start()
    try:
        yield Desk(runtime)
    finally:
        await runtime.inboxes["support"].adapter.close()
        await runtime.close()


async def until(true: Callable[[], bool]) -> None:
    """Wait for another process or thread; fails after 20 s."""
    async with asyncio.timeout(20):
        while not true():
            await asyncio.sleep(0.02)


def _outcomes(conn: Any) -> dict[str, int]:
    column = tables.receipts.c.outcome
    return {row[0]: row[1] for row in conn.execute(select(column, func.count()).group_by(column))}


def _free_lease(conn: Any) -> None:
    conn.execute(update(tables.cursors).values(owner="", lease_until=None))


def _column(conn: Any, table: str, name: str) -> list[Any]:
    return list(conn.scalars(select(tables.metadata.tables[table].c[name])))
