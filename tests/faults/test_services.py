"""Two gateways and two workers on RabbitMQ and PostgreSQL, five channels sending, and one thing after another dies.

After healing nobody helps. Then: nothing that was acknowledged is lost, nothing is doubled, nothing is there that
nobody sent, what was said stands in its comment, the audit balances, and no log holds a traceback.
"""

from __future__ import annotations

import asyncio
import random

import pytest

from tests.faults.checking import check
from tests.faults.customers import Crowd
from tests.faults.desk import Desk
from tests.faults.journal import Journal
from tests.services.postgres import PostgresCluster
from tests.services.rabbitmq import RabbitNode

pytestmark = [pytest.mark.fault, pytest.mark.rabbitmq, pytest.mark.postgres, pytest.mark.timeout(300)]


async def test_gateways_and_workers_are_killed_in_turn(desk: Desk, journal: Journal) -> None:
    """kill -9 at random moments, one process at a time and both of a kind at once."""
    dice = random.Random(3)
    async with Crowd(desk.gates, journal) as crowd:
        for names in (
            ["gateway-1"],
            ["worker-1"],
            ["gateway-2", "worker-2"],
            ["worker-1", "worker-2"],
            ["gateway-1", "gateway-2"],
            list(desk.members),
        ):
            await crowd.go_on(dice.uniform(0.5, 1.5))
            await _kill_and_restart(desk, names)
        await crowd.go_on(1)
    await check(desk, journal, at_least=100)


async def test_the_broker_is_killed_for_twenty_seconds(desk: Desk, broker: RabbitNode, journal: Journal) -> None:
    """Every door keeps accepting meanwhile, into the spool; a gateway that dies with a full spool finds it again."""
    async with Crowd(desk.gates, journal) as crowd:
        await crowd.go_on(2)
        await asyncio.to_thread(broker.kill)
        await crowd.go_on(4)
        accepted = len(journal.acknowledged)
        await crowd.go_on(6)
        assert len(journal.acknowledged) > accepted, "nothing was accepted while the broker was away"
        await _kill_and_restart(desk, ["gateway-1"])
        await crowd.go_on(10)
        await asyncio.to_thread(broker.start)
        await crowd.go_on(3)
    await check(desk, journal, at_least=100)


async def test_the_broker_is_frozen(desk: Desk, broker: RabbitNode, journal: Journal) -> None:
    """Connections stay open and nothing answers: publishes run into their deadline and go to the spool."""
    async with Crowd(desk.gates, journal) as crowd:
        await crowd.go_on(1)
        await asyncio.to_thread(broker.freeze)
        await crowd.go_on(4)
        accepted = len(journal.acknowledged)
        await crowd.go_on(4)
        assert len(journal.acknowledged) > accepted, "nothing was accepted while the broker was frozen"
        await asyncio.to_thread(broker.thaw)
        await crowd.go_on(2)
    await check(desk, journal, at_least=100)


async def test_the_database_is_killed_and_frozen(desk: Desk, database: PostgresCluster, journal: Journal) -> None:
    """Accepting needs no database; workers hold what they have, and nobody's delivery count is burnt."""
    async with Crowd(desk.gates, journal) as crowd:
        await crowd.go_on(1)
        for _ in range(2):
            await asyncio.to_thread(database.kill)
            accepted = len(journal.acknowledged)
            await crowd.go_on(3)
            assert len(journal.acknowledged) > accepted, "nothing was accepted while the database was away"
            await asyncio.to_thread(database.start)
            await crowd.go_on(1)
        await asyncio.to_thread(database.freeze)
        await crowd.go_on(3)
        await asyncio.to_thread(database.thaw)
        await crowd.go_on(1)
    await check(desk, journal, at_least=100)


async def test_everything_is_killed_at_once(
    desk: Desk, broker: RabbitNode, database: PostgresCluster, journal: Journal
) -> None:
    """As if the power failed: gateways, workers, broker and database together."""
    async with Crowd(desk.gates, journal) as crowd:
        await crowd.go_on(2)
        for member in desk.members.values():
            member.kill()
        await asyncio.gather(asyncio.to_thread(broker.kill), asyncio.to_thread(database.kill))
        # The gateways come first and accept before there is a broker or a database.
        for name in ("gateway-1", "gateway-2", "worker-1", "worker-2"):
            await asyncio.to_thread(desk.members[name].start, wait=False)
        await crowd.go_on(3)
        await asyncio.gather(asyncio.to_thread(broker.start), asyncio.to_thread(database.start))
        await crowd.go_on(1)
    await check(desk, journal, at_least=50)


async def _kill_and_restart(desk: Desk, names: list[str]) -> None:
    for name in names:
        desk.members[name].kill()
    await asyncio.sleep(0.2)
    for name in names:
        await asyncio.to_thread(desk.members[name].start, wait=False)
    for name in names:
        await asyncio.to_thread(desk.members[name].wait_ready)
