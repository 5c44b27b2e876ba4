"""Batches are short only while one channel floods and others are in use."""

from __future__ import annotations

import pytest

from gateway.worker.pace import Pace

QUIET = ["form"] * 3 + ["phone"]
MIXED = ["form"] * 65 + ["email"] * 25 + ["chat"] * 10
FLOOD = ["twitter"] * 98 + ["form", "phone"]
ALONE = ["form"] * 100
STILL = ["twitter"] * 8
CALLED = ["twitter"] * 2 + ["phone"] * 5 + ["form"]


@pytest.mark.parametrize(
    ("batches", "expected"),
    [
        ([], 100),
        ([(QUIET, 0)], 100),
        ([(MIXED, 0)], 100),
        ([(MIXED, 0), (["form"] * 30, 0.1)], 100),
        ([(ALONE, 0)], 100),
        ([(FLOOD, 0)], 8),
        ([(FLOOD[-40:], 0)], 100),
        ([(FLOOD[-40:], 0), (FLOOD[-40:], 0.1)], 8),
        ([(FLOOD, 0), (STILL, 0.1)], 8),
        ([(FLOOD, 0), (CALLED, 0.1)], 8),
        ([(FLOOD, 0), (STILL, 0.5)], 8),
        ([(FLOOD, 0), *((STILL, place / 100) for place in range(200))], 100),
        (
            [
                *((ALONE, place / 10) for place in range(20)),
                *((["email"] * 100, 3 + place / 10) for place in range(20)),
            ],
            100,
        ),
        ([(FLOOD, 0), (QUIET, 0.1)], 8),
        ([(FLOOD, 0), (QUIET, 1.1)], 100),
        ([(QUIET, 0), (ALONE, 0.5)], 8),
        ([(FLOOD, 0), ([], 1.1)], 100),
    ],
    ids=[
        "nothing yet",
        "little",
        "a backlog of every channel",
        "and for a moment of one",
        "one channel alone",
        "a flood beside others",
        "a handful is no flood",
        "a flood that the worker keeps up with",
        "the flood goes on",
        "somebody calls in the middle of it",
        "others wrote a moment ago",
        "others have gone",
        "one flood after another",
        "the flood may go on",
        "the flood is over",
        "a flood begins beside others",
        "tallies only",
    ],
)
def test_size_of_the_next_batch(batches: list[tuple[list[str], float]], expected: int) -> None:
    pace = Pace(100)
    for channels, at in batches:
        pace.note(channels, at)
    assert pace.size == expected


def test_channels_are_forgotten() -> None:
    pace = Pace(100)
    for number in range(1_000):
        pace.note([f"made up {number}"], number)
    assert len(pace._seen) == len(pace._lately) <= 10


def test_a_batch_holds_something() -> None:
    pace = Pace(2)
    pace.note(["form"], 0)
    pace.note(["twitter"] * 5, 0.1)
    assert pace.size == 1
