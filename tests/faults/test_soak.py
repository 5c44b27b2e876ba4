"""The soak in small, so that `make chaos` proves the program which `make chaos MINUTES=30` runs."""

from __future__ import annotations

import pytest

from tests.faults.conftest import SEED
from tests.faults.soak import soak

pytestmark = [
    pytest.mark.fault,
    pytest.mark.chaos,
    pytest.mark.rabbitmq,
    pytest.mark.postgres,
    pytest.mark.timeout(600),
]


async def test_a_short_soak() -> None:
    balance = await soak(2.0, SEED, pause_between=8.0)
    assert balance.clean
    assert balance.acknowledged >= 500
