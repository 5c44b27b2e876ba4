"""A message that was delivered too often while workers crashed for another's fault is recorded after all."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Connection, select

from gateway.ids import uuid7
from gateway.queues.base import DELIVERY_LIMIT, Delivered, Outgoing
from gateway.queues.embedded import EmbeddedQueue
from gateway.store import tables as t
from gateway.store.engine import Store, StoreUnavailableError, open_store
from gateway.store.migrate import migrate
from gateway.tally import Life
from gateway.worker import consume
from gateway.worker.consume import Worker
from normalizer.message import MESSAGE_TYPE, TALLY_TYPE
from tests.contract.backends import until, until_depth
from tests.worker.conversations import START, mail


async def test_the_innocent_are_recorded_and_the_guilty_stay_dead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consume, "_DEAD_SECONDS", 0.05)
    store = open_store(f"sqlite:///{tmp_path / 'store.db'}")
    await store.write(migrate)
    queue = EmbeddedQueue(tmp_path / "queue.db", min_free_bytes=0)
    await queue.start()
    good = mail("good@x", "alice")
    bad = mail("bad@x", "bob").model_copy(update={"sequence": 1 << 70})  # no column holds it
    for message in (good, bad):
        body = message.model_dump_json().encode()
        await queue.publish([Outgoing(body, MESSAGE_TYPE, str(message.receipt_id), "email", "support")])
    tally = Life("gateway-1", START).report(START, ended=True).model_dump_json().encode()
    await queue.publish([Outgoing(tally, TALLY_TYPE, str(uuid7()), "control", "tally")])
    for _ in range(DELIVERY_LIMIT + 1):
        await queue.release(await queue.consume(10))
    assert (await queue.depth()).dead == 3

    stop = asyncio.Event()
    working = asyncio.create_task(Worker(queue, store).run(stop))
    letters: list[tuple[str, bool]] = []
    async with asyncio.timeout(20):
        while not any(revived for _, revived in letters) or len(letters) < 2:
            rows = await store.read(lambda conn: conn.execute(select(t.dead_letters)).all())
            letters = [(row.reason.split(":")[0], row.replayed_at is not None) for row in rows]
            await asyncio.sleep(0.02)
        while ("cannot be recorded", False) not in letters:
            rows = await store.read(lambda conn: conn.execute(select(t.dead_letters)).all())
            letters = [(row.reason.split(":")[0], row.replayed_at is not None) for row in rows]
            await asyncio.sleep(0.02)
    stop.set()
    await working
    outcomes = await store.read(
        lambda conn: dict(conn.execute(select(t.receipts.c.receipt_id, t.receipts.c.outcome)).all())
    )
    assert outcomes == {good.receipt_id: "ticketed", bad.receipt_id: "dead"}
    assert (await queue.depth()).dead == 0
    assert await store.read(lambda conn: list(conn.scalars(select(t.gateway_lives.c.gateway)))) == ["gateway-1"]
    await queue.close()
    await store.close()


async def test_dead_letters_wait_for_a_store_that_was_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker that had them when it went away brings them when it is back, without a restart."""
    monkeypatch.setattr(consume, "_DEAD_SECONDS", 0.05)
    away, bury = 3, consume.record_dead

    def refuse(conn: Connection, rows: list[dict[str, Any]], now: datetime) -> None:
        nonlocal away
        if away:
            away -= 1
            raise StoreUnavailableError("shutting down")
        bury(conn, rows, now)

    monkeypatch.setattr(consume, "record_dead", refuse)
    store = open_store(f"sqlite:///{tmp_path / 'store.db'}")
    await store.write(migrate)
    queue = EmbeddedQueue(tmp_path / "queue.db", min_free_bytes=0, delivery_limit=0)
    await queue.start()
    await queue.publish([Outgoing(b"no message of ours", MESSAGE_TYPE, str(uuid7()), "email", "support")])
    await queue.release(await queue.consume(1))

    stop = asyncio.Event()
    working = asyncio.create_task(Worker(queue, store).run(stop))
    await until(lambda: _is_recorded_dead(store))
    await until_depth(queue, lambda depth: depth.waiting == depth.dead == 0)
    assert not away
    stop.set()
    await working
    await queue.close()
    await store.close()


async def test_one_letter_that_comes_twice_in_a_batch_ends_no_worker(tmp_path: Path) -> None:
    """Replayed twice, or published again after a lost confirm, and dead each time."""
    store = open_store(f"sqlite:///{tmp_path / 'store.db'}")
    await store.write(migrate)
    queue = EmbeddedQueue(tmp_path / "queue.db", min_free_bytes=0)
    await queue.start()
    good, twice = mail("good@x", "alice"), Outgoing(b"no message", MESSAGE_TYPE, str(uuid7()), "email", "support")
    body = good.model_dump_json().encode()
    await queue.publish([twice, twice, Outgoing(body, MESSAGE_TYPE, str(good.receipt_id), "email", "support")])
    stop = asyncio.Event()
    working = asyncio.create_task(Worker(queue, store).run(stop))
    async with asyncio.timeout(20):
        while (await queue.depth()).waiting and not working.done():
            await asyncio.sleep(0.02)
    stop.set()
    await working
    outcomes = await store.read(lambda conn: sorted(conn.scalars(select(t.receipts.c.outcome))))
    letters = await store.read(lambda conn: list(conn.scalars(select(t.dead_letters.c.receipt_id))))
    assert (outcomes, letters) == (["dead", "ticketed"], [UUID(twice.receipt_id)])
    await queue.close()
    await store.close()


async def test_a_tally_that_no_column_holds_keeps_nobody_from_a_ticket(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = open_store(f"sqlite:///{tmp_path / 'store.db'}")
    await store.write(migrate)
    queue = EmbeddedQueue(tmp_path / "queue.db", min_free_bytes=0)
    await queue.start()
    tally, good = Life("gateway-1", START).report(START), mail("good@x", "alice")
    forged = tally.model_copy(update={"gateway": "forged", "accepted": 1 << 70, "settled": 1 << 70})
    await queue.publish(
        [
            Outgoing(forged.model_dump_json().encode(), TALLY_TYPE, str(uuid7()), "control", "tally"),
            Outgoing(good.model_dump_json().encode(), MESSAGE_TYPE, str(good.receipt_id), "email", "support"),
            Outgoing(tally.model_dump_json().encode(), TALLY_TYPE, str(uuid7()), "control", "tally"),
        ]
    )
    stop = asyncio.Event()
    working = asyncio.create_task(Worker(queue, store).run(stop))
    await until_depth(queue, lambda depth: depth.waiting == 0)
    stop.set()
    await working
    lives = await store.read(lambda conn: list(conn.scalars(select(t.gateway_lives.c.gateway))))
    outcomes = await store.read(lambda conn: list(conn.scalars(select(t.receipts.c.outcome))))
    assert (lives, outcomes) == (["gateway-1"], ["ticketed"])
    assert "a tally of gateway 'forged' cannot be kept" in caplog.text
    await queue.close()
    await store.close()


@pytest.mark.parametrize("field", ["gateway", "channel", "inbox", "type", "reason"])
def test_a_dead_letter_says_nothing_that_a_database_cannot_keep(field: str) -> None:
    """PostgreSQL has no NUL, and no encoding has half a surrogate pair."""
    bad = "a\0b\ud800c"
    envelope = {"gateway": "a\0b", "sequence": 1, "received_at": START.isoformat()}
    words = {"channel": "email", "inbox": "support", "type": MESSAGE_TYPE} | ({field: bad} if field in _WORDS else {})
    letter = Delivered(json.dumps(envelope).encode(), receipt_id=str(uuid7()), attempts=1, tag=1, **words)
    row = consume._dead_row(letter, bad if field == "reason" else "bad")
    assert "\0" not in row[field]
    assert row[field].encode()
    assert row[field].startswith("a")


_WORDS = ("channel", "inbox", "type")


async def _is_recorded_dead(store: Store) -> bool:
    return bool(await store.read(lambda conn: conn.execute(select(t.dead_letters)).all()))
