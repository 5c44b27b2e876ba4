"""What the two durable steps cost by themselves in this very run: confirmed publishes, and rows in batches of 100."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import Connection, text

from adapters.base import Raw
from gateway.bench.content import Kind, compose
from gateway.ids import uuid7
from gateway.intake import Intake
from gateway.queues.base import Outgoing
from gateway.runtime import Runtime

_IN_FLIGHT: Final = 64
_BATCH: Final = 100


class Catching:
    """A queue that keeps what is published to it."""

    def __init__(self) -> None:
        self.messages: list[Outgoing] = []

    async def publish(self, messages: Any) -> None:
        self.messages += messages


async def catch(runtime: Runtime, kind: Kind) -> Outgoing:
    """The wire message of one such arrival, as the door would publish it."""
    queue: Any = Catching()
    intake = Intake(queue, runtime.blobs, "bench")
    item = compose(kind, 1)[0]
    inbox = runtime.inboxes["contact" if kind == "form" else "support"]
    media, facts = ("application/json", {}) if kind == "form" else ("message/rfc822", _envelope(item.sender))
    try:
        await intake.accept(inbox, Raw(item.content, media, facts))
    finally:
        intake.close()
    message: Outgoing = queue.messages[0]
    return message


def _envelope(sender: str) -> Mapping[str, Any]:
    return {"mail_from": sender, "rcpt_tos": ["support@localhost"]}


async def publish(runtime: Runtime, pattern: Outgoing, count: int) -> float:
    """Messages a second, each confirmed by itself, 64 in flight. They are consumed and acknowledged again."""
    numbers = iter(range(count))

    async def send() -> None:
        for _ in numbers:
            own = Outgoing(pattern.body, pattern.type, str(uuid7()), pattern.channel, pattern.inbox)
            await runtime.queue.publish([own])

    start = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(_IN_FLIGHT):
            tasks.create_task(send())
    seconds = time.perf_counter() - start
    taken = 0
    while taken < count:
        batch = await runtime.queue.consume(200)
        await runtime.queue.ack(batch)
        taken += len(batch)
    return count / seconds


async def insert(runtime: Runtime, pattern: Outgoing, count: int) -> float:
    """Rows a second of the size of such a message, into one table without indexes, a commit every 100."""
    await runtime.store.write(_create)
    try:
        start = time.perf_counter()
        for first in range(0, count, _BATCH):
            rows = [{"id": first + number, "body": pattern.body.decode()} for number in range(_BATCH)]
            await runtime.store.write(_insert, rows)
        return count / (time.perf_counter() - start)
    finally:
        await runtime.store.write(_drop)


def _create(conn: Connection) -> None:
    conn.execute(text("CREATE TABLE bench_rows (id BIGINT PRIMARY KEY, body TEXT NOT NULL)"))


def _drop(conn: Connection) -> None:
    conn.execute(text("DROP TABLE bench_rows"))


def _insert(conn: Connection, rows: list[dict[str, Any]]) -> None:
    if conn.dialect.name == "postgresql":
        source = "json_to_recordset(CAST(:rows AS json)) AS source (id BIGINT, body TEXT)"
        conn.execute(text(f"INSERT INTO bench_rows SELECT * FROM {source}"), {"rows": json.dumps(rows)})  # noqa: S608
    else:
        conn.execute(text("INSERT INTO bench_rows VALUES (:id, :body)"), rows)
