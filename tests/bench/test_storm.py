"""The storm's figures: every form and every request about a call is timed, and everything is accounted for."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.bench.stage import Plan
from gateway.bench.storm import Storm, measure_storm, stormed


def test_the_report_has_each_channel_and_its_ratio() -> None:
    quiet = {
        "form": {"p50": 20.0, "p99": 40.0, "accept_p99": 9.0, "whole_p99": 45.0},
        "phone": {"p50": 30.0, "p99": 50.0, "accept_p99": 8.0, "whole_p99": 55.0},
    }
    storm = {
        "form": {"p50": 40.0, "p99": 100.0, "accept_p99": 60.0, "whole_p99": 135.0},
        "phone": {"p50": 50.0, "p99": 75.0, "accept_p99": 30.0, "whole_p99": 99.0},
    }
    found = Storm("embedded", quiet, storm, accepted_per_s=900.0)
    table = stormed(found)
    assert "900/s are accepted" in table.head[0]
    assert [tuple(row) for row in table.rows] == [
        ("form", "9 ms", "20 ms", "40 ms", "45 ms", "60 ms", "40 ms", "100 ms", "135 ms", "2.5", "3.0"),
        ("phone", "8 ms", "30 ms", "50 ms", "55 ms", "30 ms", "50 ms", "75 ms", "99 ms", "1.5", "1.8"),
    ]
    assert found.as_dict()["ratios"] == {"form": 2.5, "phone": 1.5}


@pytest.mark.timeout(170)
async def test_a_storm_is_measured_and_balances(tmp_path: Path) -> None:
    """A breath of one, through the doors of real processes."""
    plan = Plan("embedded", "embedded:", f"sqlite:///{tmp_path / 'frontdesk.db'}", {"up": "up"}, {}, 0, 0, 0)
    found = await measure_storm(plan, tmp_path, seconds=0.5, turns=1)
    assert found.balanced, found.audit
    forms, calls, posts = 100 + 2 * 10, 2 * 2 * 5, 100 + 1000
    assert found.audit.startswith(f"accepted {forms + calls + posts} "), found.audit
    assert set(found.quiet_ms) == set(found.storm_ms) == {"form", "phone"}
    assert all(
        0 <= ms["p50"] <= ms["p99"] <= ms["whole_p99"] for ms in (*found.quiet_ms.values(), *found.storm_ms.values())
    )
