"""A simulated month ends exactly as it should: no message missing, none extra, none on a wrong ticket.

`FRONTDESK_TEST_MONTH=25000` takes the whole month instead of a sample of it.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import pytest

from gateway.store.engine import Store, open_store
from gateway.store.migrate import migrate
from gateway.store.record import record
from gateway.worker.plan import Item
from tests.simulation.desk import Delivery, read
from tests.simulation.month import MIX, as_queued, batches, simulate
from tests.simulation.verdict import differences

MESSAGES = int(os.environ.get("FRONTDESK_TEST_MONTH", "4000"))
WORKERS = 2
NOW = datetime(2026, 9, 1, tzinfo=UTC)

pytestmark = pytest.mark.timeout(180 if MESSAGES <= 5000 else 1800)


@cache
def month(seed: int) -> tuple[list[Delivery], list[Item]]:
    deliveries = simulate(MESSAGES, seed)
    return deliveries, read(deliveries)


@pytest.fixture
async def workers(store_url: str) -> AsyncIterator[list[Store]]:
    """Each worker has the store of a process of its own."""
    stores = [open_store(store_url) for _ in range(WORKERS)]
    yield stores
    for store in stores:
        await store.close()


async def work(stores: Sequence[Store], items: Sequence[Item], plan: Sequence[Sequence[int]]) -> Counter[str]:
    """Every store takes the next batch as soon as it is done with one. Returns how often each outcome was told."""
    waiting = iter(plan)
    told: Counter[str] = Counter()

    async def run(store: Store) -> None:
        for batch in waiting:
            results = await store.write(record, [items[place] for place in batch], NOW)
            told.update(result.outcome for result in results)

    await asyncio.gather(*map(run, stores))
    return told


def test_the_mix_is_that_of_the_desk_it_is_modelled_on() -> None:
    deliveries, items = month(1)
    said = {delivery.message: item.channel for delivery, item in zip(deliveries, items, strict=True)}
    counts = Counter(said.values())
    assert sum(counts.values()) == pytest.approx(MESSAGES, rel=0.05)
    for channel, (share, _) in MIX.items():
        assert counts[channel] / sum(counts.values()) == pytest.approx(share, abs=0.02), channel
    assert len(deliveries) > 1.2 * len(said), "many arrive more than once, or in pieces"
    assert {delivery.fate for delivery in deliveries} == {"", "suspended", "ignored"}


@pytest.mark.parametrize("order", [pytest.param(7, id="queue"), pytest.param(None, id="backwards")])
async def test_a_month_ends_as_it_should(workers: list[Store], order: int | None) -> None:
    deliveries, items = month(1)
    count = len(items)
    places = list(range(count))[::-1] if order is None else as_queued(count, order)
    told = await work(workers, items, batches(places, seed=3))
    assert told.total() == count, "what is delivered again by the broker is told once"
    wrong = await workers[0].read(differences, deliveries, items)
    assert wrong == []


BROKEN: dict[str, Callable[[list[Delivery]], list[Delivery]]] = {
    "two matters on one ticket": lambda found: [_with(d, ticket="one") for d in found],
    "one matter on two tickets": lambda found: [_with(d, ticket=d.message) for d in found],
    "copies counted as messages": lambda found: [_with(d, message=str(n)) for n, d in enumerate(found)],
    "different messages taken for copies": lambda found: [_with(d, message=d.ticket) for d in found],
}


@pytest.mark.parametrize("broken", BROKEN)
async def test_the_comparison_would_notice(tmp_path: Path, broken: str) -> None:
    deliveries = simulate(200, seed=2)
    items = read(deliveries)
    store = open_store(f"sqlite:///{tmp_path / 'frontdesk.db'}")
    try:
        await store.write(migrate)
        await store.write(record, items, NOW)
        assert await store.read(differences, deliveries, items) == []
        assert await store.read(differences, BROKEN[broken](deliveries), items)
    finally:
        await store.close()


def _with(delivery: Delivery, *, message: str = "", ticket: str = "") -> Delivery:
    if delivery.fate:
        return delivery
    return Delivery(
        delivery.at, delivery.inbox, delivery.raw, message or delivery.message, ticket or delivery.ticket, delivery.fate
    )
