"""The desk of `frontdesk bench --grow` is what a desk of that size is: its twins are whole, and are answered."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, func, select

from gateway.bench.desk import runtime_of, settings_of
from gateway.bench.growth import measure_growth, sizes_up_to
from gateway.store import tables as t
from gateway.store.migrate import migrate


async def test_a_grown_desk(store_url: str, tmp_path: Path) -> None:
    runtime = runtime_of(settings_of("embedded:", store_url, tmp_path, 0, 0))
    await runtime.start()
    try:
        await runtime.store.write(migrate)
        told: list[str] = []
        [cost] = [cost async for cost in measure_growth(runtime, [3000], None, told.append)]
        assert told == ["  3,000 tickets"]
        assert cost.tickets == await runtime.store.read(count, t.tickets.c.id) > 3000
        assert min(cost.record_us, cost.worker_cpu_us, cost.list_ms, cost.ticket_ms) > 0
        await runtime.store.read(check_twins)
        await runtime.store.read(check_answers)
    finally:
        await runtime.close()


def check_twins(conn: Connection) -> None:
    """A thousand tickets three times, with the comments, receipts and evidence that belong to each."""
    original = select(t.tickets.c.id).where(t.tickets.c.id <= 1000)
    first = conn.execute(select(t.comments.c.ticket_id, t.comments.c.receipt_id).where(t.comments.c.id <= 1250)).all()
    assert {row.ticket_id for row in first} == set(conn.scalars(original))
    for twin in (1, 2):
        shift = twin * 100_000
        own = t.comments.c.id.between(shift + 1, shift + 1250)
        theirs = conn.execute(select(t.comments.c.ticket_id, t.comments.c.receipt_id).where(own)).all()
        assert sorted(row.ticket_id - shift for row in theirs) == sorted(row.ticket_id for row in first)
        receipts = [row.receipt_id for row in theirs]
        assert not set(receipts) & {row.receipt_id for row in first}
        known = select(func.count()).select_from(t.receipts).where(t.receipts.c.receipt_id.in_(receipts))
        assert conn.scalar(known) == 1250
    keys = t.thread_keys.c
    orphans = select(func.count()).select_from(t.thread_keys).where(keys.ticket_id.not_in(select(t.tickets.c.id)))
    assert conn.scalar(orphans) == 0


def check_answers(conn: Connection) -> None:
    """Every second of the two thousand mails recorded since answers one of them, or of their twins, and joined it."""
    since = t.comments.c.id > 201_250
    tickets = list(conn.scalars(select(t.comments.c.ticket_id).where(since, t.comments.c.matched_by != "none")))
    assert 1000 <= len(tickets) <= 1300  # one in ten answers another new one
    assert {ticket // 100_000 for ticket in tickets} == {0, 1, 2}


def count(conn: Connection, column: object) -> int:
    return conn.scalar(select(func.count(column))) or 0  # type: ignore[arg-type]


def test_sizes() -> None:
    assert [sizes_up_to(tickets) for tickets in (5, 20_000, 1_000_000)] == [
        [10_000],
        [10_000, 20_000],
        [10_000, 100_000, 1_000_000],
    ]
