"""A whole desk on either database, a mail reader that can be broken and mended, and ways to look at what is held."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from pydantic import SecretStr
from sqlalchemy import Connection, select

from adapters.base import Raw
from adapters.email import Email
from gateway.audit import audit
from gateway.commands.desk import record_everything, taking_in
from gateway.runtime import Runtime
from gateway.settings import Settings
from gateway.store import tables as t
from gateway.web.app import build_app

TOKEN = "token-of-the-tests"


def mail(ident: str, text: str = "Where is my parcel?", *, sender: str = "anna@customer.example", **more: str) -> bytes:
    """A plain mail."""
    extra = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in more.items())
    head = (
        f"From: {sender}\r\nTo: support@localhost\r\nSubject: My parcel\r\nMessage-ID: <{ident}@customer.example>\r\n"
    )
    return f"{head}{extra}\r\n{text}\r\n".encode()


class Desk:
    """The runtime with short words for what the tests do."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime

    async def take(self, *bodies: bytes, inbox: str = "support", **facts: Any) -> list[str]:
        """Accept and record; the receipts."""
        found = []
        async with taking_in(self.runtime):
            for body in bodies:
                receipts = await self.runtime.intake.accept(
                    self.runtime.inboxes[inbox], Raw(body, "message/rfc822", facts)
                )
                found += [str(receipt.receipt_id) for receipt in receipts]
        await self.work()
        return found

    async def work(self) -> None:
        await record_everything(self.runtime)

    async def rows(self, table: Any, *columns: str) -> list[Any]:
        """A table in the order of its first column, or some columns of it."""
        chosen = [table.c[name] for name in columns] or [table]

        def read(conn: Connection) -> list[Any]:
            return list(conn.execute(select(*chosen).order_by(table.c[columns[0] if columns else "id"])))

        return await self.runtime.store.read(read)

    async def outcomes(self) -> dict[str, tuple[str, int | None]]:
        """Outcome and ticket by receipt."""
        rows = await self.rows(t.receipts, "receipt_id", "outcome", "ticket_id")
        return {str(row.receipt_id): (row.outcome, row.ticket_id) for row in rows}

    async def events(self, *kinds: str) -> list[Any]:
        return [row for row in await self.rows(t.events) if row.kind in kinds]

    async def balanced(self) -> bool:
        report = await audit(self.runtime, patience=0.0)
        return report.balanced and not report.broken


@asynccontextmanager
async def opened_desk(folder: Path, url: str) -> AsyncIterator[Desk]:
    settings = Settings(data_dir=folder, store_url=url, api_tokens=[SecretStr(TOKEN)], batch_linger=0.0)
    runtime = Runtime(settings)
    await runtime.start()
    try:
        await runtime.migrate()
        yield Desk(runtime)
    finally:
        await runtime.close()


@pytest.fixture
async def desk(store_url: str, tmp_path: Path) -> AsyncIterator[Desk]:
    async with opened_desk(tmp_path / "data", store_url) as desk:
        yield desk


@pytest.fixture
async def api(desk: Desk) -> AsyncIterator[Callable[..., Any]]:
    """Call the API: status and JSON."""
    async with TestClient(TestServer(build_app(desk.runtime))) as client:

        async def call(method: str, path: str, email: str = "") -> tuple[int, Any]:
            headers = {"Authorization": f"Bearer {TOKEN}"}
            answer = await client.request(method, f"/api/v2/{path}", headers=headers)
            return answer.status, await answer.json() if answer.content_type == "application/json" else None

        yield call


@pytest.fixture
def broken_reader(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From now on no mail can be read; call it to mend the reader."""
    good = Email.normalize

    def bad(self: Email, raw: Raw) -> Any:
        raise ValueError("a bug of the day")

    monkeypatch.setattr(Email, "normalize", bad)
    return lambda: monkeypatch.setattr(Email, "normalize", good)
