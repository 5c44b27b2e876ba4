"""One suite for both databases: migrations, concurrent recording, failures that pass and failures that do not."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, func, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from gateway.queues.embedded import EmbeddedQueue
from gateway.store import cursors
from gateway.store import tables as t
from gateway.store.engine import Store, is_transient, open_store
from gateway.store.migrate import _config, migrate, newest_revision
from gateway.store.record import record
from gateway.worker.consume import Worker
from normalizer.message import Message
from tests.worker.conversations import conversations, expected_partition, mail

NOW = datetime(2026, 8, 1, 12, 0, tzinfo=UTC)


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Store]:
    store = open_store(url)
    try:
        yield store
    finally:
        await store.close()


def partition(conn: Connection) -> set[frozenset[UUID]]:
    groups: dict[int, set[UUID]] = defaultdict(set)
    for ticket, receipt in conn.execute(select(t.comments.c.ticket_id, t.comments.c.receipt_id)):
        groups[ticket].add(receipt)
    return {frozenset(group) for group in groups.values()}


def count(conn: Connection, table: Any) -> int:
    return conn.scalar(select(func.count()).select_from(table)) or 0


async def test_migrations_make_the_schema_the_code_expects(store: Store) -> None:
    def differences(conn: Connection) -> list[Any]:
        return compare_metadata(MigrationContext.configure(conn, opts={"compare_type": True}), t.metadata)

    assert await store.read(differences) == []
    assert await store.write(migrate) == (newest_revision(), newest_revision())


async def test_several_processes_may_migrate_at_once(empty_url: str) -> None:
    async with opened(empty_url) as one, opened(empty_url) as other:
        await asyncio.gather(one.write(migrate), other.write(migrate))
        assert await other.read(count, t.tickets) == 0


async def test_a_database_of_a_newer_version_is_left_as_it_is(store: Store) -> None:
    """A rolling restart: a process of this version starts again after the next one has migrated."""
    await store.write(migrate)
    await store.write(lambda conn: conn.execute(text("UPDATE alembic_version SET version_num = '9999'")) and None)
    assert await store.write(migrate) == ("9999", "9999")


async def test_identities_turn_round_and_stay(store: Store) -> None:
    """Revision 0005 writes them anew on SQLite: all are there afterwards, and each still belongs to one customer."""
    await store.write(record, [mail("a@x", "alice"), mail("b@x", "bob")], NOW)
    before = await store.read(lambda conn: conn.execute(select(t.identities).order_by(t.identities.c.id)).all())

    def go_back(conn: Connection) -> None:
        config = _config()
        config.attributes["connection"] = conn
        command.downgrade(config, "0004")

    await store.write(go_back)
    assert await store.write(migrate) == ("0004", newest_revision())
    assert await store.read(lambda conn: conn.execute(select(t.identities).order_by(t.identities.c.id)).all()) == before
    assert len(before) == 2
    again = "INSERT INTO identities SELECT 99, customer_id, kind, value, trust, source, created_at FROM identities"
    with pytest.raises(IntegrityError):
        await store.write(lambda conn: conn.execute(text(f"{again} WHERE id = {before[0].id}")) and None)


async def test_a_failure_keeps_nothing(store: Store) -> None:
    def fail(conn: Connection) -> None:
        record(conn, [mail("a@x", "alice")], NOW)
        raise RuntimeError("the plug is pulled")

    with pytest.raises(RuntimeError):
        await store.write(fail)
    assert await store.read(count, t.receipts) == 0


async def test_reading_sees_no_half_batch(store: Store) -> None:
    await store.write(record, [mail(f"m{n}@x", "alice", text=f"{n}") for n in range(50)], NOW)
    assert await store.read(count, t.comments) == 50


@pytest.mark.parametrize(
    "statement", ["SELECT * FROM no_such_table", "INSERT INTO tickets (id) VALUES (1)", "not even SQL"]
)
async def test_a_mistake_is_no_outage(store: Store, statement: str) -> None:
    with pytest.raises(DBAPIError) as caught:
        await store.write(lambda conn: conn.execute(text(statement)))
    assert not is_transient(caught.value)


async def test_hostile_text_is_stored_at_the_first_try(store: Store) -> None:
    nasty = mail("a@x", "alice", text="before\x00after \ud800 \u202e 𝕏 ' \" \\ %s {}")
    await store.write(record, [Message.model_validate(nasty.model_dump())], NOW)
    assert "beforeafter" in (await store.read(lambda conn: conn.scalar(select(t.comments.c.text))) or "")


@given(conversations(), st.integers(0, 2**32), st.integers(1, 4), st.integers(1, 4))
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_number_of_workers_in_any_order_make_the_same_tickets(
    store_url: str, messages: list[Message], seed: int, size: int, workers: int
) -> None:
    async def run() -> set[frozenset[UUID]]:
        rng = random.Random(seed)
        deliveries = messages + rng.choices(messages, k=4)
        rng.shuffle(deliveries)
        batches = [deliveries[start : start + size] for start in range(0, len(deliveries), size)]
        async with opened(store_url) as first:
            await first.write(_clear)
            others = [open_store(store_url) for _ in range(workers)]
            try:
                await asyncio.gather(*(_work(store, batches[number::workers]) for number, store in enumerate(others)))
            finally:
                for store in others:
                    await store.close()
            assert await first.read(count, t.receipts) == len(messages)
            return await first.read(partition)

    assert asyncio.run(run()) == expected_partition(messages)


async def _work(store: Store, batches: Sequence[Sequence[Message]]) -> None:
    for batch in batches:
        await store.write(record, batch, NOW)


def _clear(conn: Connection) -> None:
    for table in reversed(t.metadata.sorted_tables):
        conn.execute(table.delete())


async def test_concurrent_first_contact_makes_one_customer(store_url: str, store: Store) -> None:
    async with opened(store_url) as other:
        await asyncio.gather(
            *(store.write(record, [mail(f"a{n}@x", "alice", text=f"{n}")], NOW) for n in range(5)),
            *(other.write(record, [mail(f"b{n}@x", "alice", text=f"b{n}")], NOW) for n in range(5)),
        )
        assert await store.read(count, t.customers) == 1
        assert await store.read(count, t.tickets) == 10


@pytest.mark.parametrize("workers", [2, 4])
async def test_webhook_and_poll_at_once_by_many_gateways_and_workers(
    store_url: str, store: Store, workers: int
) -> None:
    """Each of them hands in every message, with a receipt of its own: one comment each, the others are duplicates."""
    copies = [
        [
            mail(f"m{number}@x", "alice", refs=[f"m{number % 3}@x"], text=f"{number}").model_copy(
                update={"gateway": f"gateway-{worker}", "sequence": number + 1}
            )
            for number in range(30)
        ]
        for worker in range(workers)
    ]
    rng = random.Random(workers)
    stores = [open_store(store_url) for _ in range(workers)]

    async def work(other: Store, messages: list[Message]) -> None:
        rng.shuffle(messages)
        for start in range(0, len(messages), 4):
            await other.write(record, messages[start : start + 4], NOW)

    try:
        await asyncio.gather(*(work(other, messages) for other, messages in zip(stores, copies, strict=True)))
    finally:
        for other in stores:
            await other.close()
    outcomes = await store.read(lambda conn: list(conn.scalars(select(t.receipts.c.outcome))))
    assert len(outcomes) == 30 * workers
    assert outcomes.count("duplicate") == 30 * (workers - 1)
    assert await store.read(count, t.comments) == 30
    ids = await store.read(lambda conn: set(conn.scalars(select(t.comments.c.external_id))))
    assert len(ids) == 30


async def test_one_process_polls_at_a_time(store: Store) -> None:
    assert await store.write(cursors.take_lease, "twitter", "one", 30)
    assert not await store.write(cursors.take_lease, "twitter", "two", 30)
    await store.write(cursors.save_cursor, "twitter", "41")
    await store.write(cursors.save_cursor, "twitter", "42")
    await store.write(cursors.drop_lease, "twitter", "one")
    assert await store.write(cursors.take_lease, "twitter", "two", 30)
    assert await store.read(cursors.read_cursor, "twitter") == "42"


async def test_a_worker_records_what_is_queued_and_a_poison_message_costs_only_itself(
    store: Store, tmp_path: Path
) -> None:
    from gateway.queues.base import Outgoing
    from normalizer.message import MESSAGE_TYPE

    queue = EmbeddedQueue(tmp_path / "queue.db")
    await queue.start()
    good = [mail(f"m{n}@x", "alice", text=f"{n}") for n in range(20)]
    poison = mail("p@x", "alice").model_copy(update={"sequence": 1 << 70})  # no column holds it
    bodies = [(message, message.model_dump_json().encode()) for message in (*good[:10], poison, *good[10:])]
    await queue.publish([Outgoing(body, MESSAGE_TYPE, str(m.receipt_id), "email", m.inbox) for m, body in bodies])
    await queue.publish([Outgoing(b"{not json", MESSAGE_TYPE, "no uuid", "email", "support")])
    stop = asyncio.Event()
    working = asyncio.create_task(Worker(queue, store, linger=0.01).run(stop))
    try:
        async with asyncio.timeout(60):
            while (await queue.depth()).waiting:
                await asyncio.sleep(0.02)
    finally:
        stop.set()
        await working
        await queue.close()
    assert await store.read(count, t.comments) == 20
    reasons = sorted(await store.read(lambda conn: list(conn.scalars(select(t.dead_letters.c.reason)))))
    assert [reason.split(":")[0] for reason in reasons] == ["cannot be recorded", "not a message of the queue contract"]
