"""A leak is found, and what one batch leaves behind is none."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.faults.steady import Sample, find_leaks

MIB = 1 << 20


def live(
    megabytes: Sequence[float], *, every: float = 0.5, pid: int = 1, descriptors: int = 0, threads: int = 0
) -> list[Sample]:
    """One life; `descriptors` and `threads`: how many more of them at each look."""
    return [
        Sample(look * every, pid, int(size * MIB), 20 + look * descriptors, 5 + look * threads)
        for look, size in enumerate(megabytes)
    ]


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        (live([100, 120, 125, 125, 127, 126]), []),
        (live([100, 120, 125, 125, 132]), []),
        (live([100, 120, 125, 129, 134]), ["grew by 9.0 MiB in 1.0 minutes"]),
        (live([100 + 1.5 * minute for minute in range(30)], every=1), []),
        (live([100 + 2.5 * minute for minute in range(30)], every=1), ["grew by 70.0 MiB in 28.0 minutes"]),
        (live([100, 150, 300, 400]), []),
        (live([100] * 3) + live([150] * 3, pid=2) + live([200] * 3, pid=3), []),
        (live([100] * 6, descriptors=6), ["leaks descriptors: 32, then 50"]),
        (live([100] * 6, threads=3), ["leaks threads: 11, then 20"]),
    ],
    ids=[
        "steady",
        "a large batch",
        "a little more than that",
        "slowly",
        "slowly and for ever",
        "too short to tell",
        "killed again and again",
        "descriptors",
        "threads",
    ],
)
def test_what_counts_as_a_leak(samples: list[Sample], expected: list[str]) -> None:
    assert [leak.removeprefix("worker ") for leak in find_leaks("worker", samples)] == expected
