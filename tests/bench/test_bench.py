"""The bench measures what it says: real processes, every message accounted for, and content that is what it claims."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from gateway.bench.content import SIZE, Kind, compose
from tests.faults.desk import COMMAND

_ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("kind", ["form", "mail"])
def test_messages_are_two_kilobytes_and_unique(kind: Kind) -> None:
    """Within a few bytes, so that figures of two runs can be compared."""
    items = compose(kind, 100) + compose(kind, 100)
    assert all(abs(len(item.content) - SIZE) < 100 for item in items), {len(item.content) for item in items}
    assert len({item.name for item in items}) == len({item.content for item in items}) == 200


def test_every_fifth_mail_answers_an_earlier_one_of_its_sender() -> None:
    """Threading is part of what is measured."""
    items = compose("mail", 10)
    answers = [item for item in items if b"In-Reply-To: <" in item.content]
    assert len(answers) == 2
    assert items[4].sender == items[0].sender
    assert f"In-Reply-To: <{items[0].name}>".encode() in items[4].content


@pytest.mark.timeout(170)
def test_the_embedded_stack_is_measured_and_balances() -> None:
    """A small run of the real command."""
    words = ["bench", "--only", "embedded", "--messages", "60", "--json"]
    done = subprocess.run([*COMMAND, *words], capture_output=True, text=True, check=False, cwd=_ROOT, timeout=160)
    assert done.returncode == 0, done.stderr
    (stack,) = json.loads(done.stdout)["stacks"]
    assert stack["audit"].endswith("balanced")
    assert stack["audit"].startswith("accepted 360 = ticketed 324 + appended 36 + duplicate 0"), stack["audit"]
    for result in stack["results"]:
        assert result["accepted_per_s"] >= result["ticketed_per_s"] > 0
        assert result["bare_publish_per_s"] > 0
        assert result["bare_insert_per_s"] > 0
        assert 0 < result["accept_ms"]["p50"] <= result["accept_ms"]["p99"]
        assert result["visible_ms"]["p50"] <= result["visible_ms"]["p99"]
        assert min(result["peak_bytes"][name] for name in ("up", "its worker")) > 20_000_000
