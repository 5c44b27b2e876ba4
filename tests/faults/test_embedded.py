"""kill -9 of `frontdesk up`, which is gateway, worker, queue and store in one process, while five channels send."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.faults.checking import check
from tests.faults.customers import Crowd
from tests.faults.desk import Desk
from tests.faults.journal import Journal

pytestmark = [pytest.mark.fault, pytest.mark.timeout(300)]

_ROUNDS = 6


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    desk = Desk(tmp_path)
    desk.add("up", "up")
    await desk.start()
    yield desk
    await desk.close()


async def test_everything_in_one_process_is_killed_again_and_again(desk: Desk, journal: Journal) -> None:
    """Nothing acknowledged is lost and nothing is doubled, wherever in its work the process was."""
    dice = random.Random(7)
    member = desk.members["up"]
    async with Crowd(desk.gates, journal) as crowd:
        for _ in range(_ROUNDS):
            await crowd.go_on(dice.uniform(0.4, 1.6))
            member.kill()
            await asyncio.to_thread(member.start)
        await crowd.go_on(1)
    await check(desk, journal, at_least=_ROUNDS * 10)
