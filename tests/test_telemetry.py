"""What is logged is one line of JSON, whatever was in it, and never a value of a local variable."""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

import pytest

from gateway import telemetry


def fail(words: str) -> None:
    raise ValueError(f"no good: {len(words)}")


def logged(capsys: pytest.CaptureFixture[str], form: str, **extra: Any) -> str:
    telemetry.configure_logging("info", form)
    try:
        fail("-".join(("a", "customers", "words")))
    except ValueError:
        logging.getLogger("desk").log(logging.ERROR, "%s failed", "this", extra=extra, exc_info="exc" in extra)
    sys.stderr.flush()
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ({}, {}),
        ({"receipt_id": "1", "messages": 3}, {"receipt_id": "1", "messages": 3}),
        ({"odd": "a\nb\udc80"}, {"odd": "a\nb\udc80"}),
        ({"ratio": float("nan"), "kinds": {"a"}}, {"ratio": None, "kinds": ["a"]}),
        ({"thing": Exception("x")}, {"thing": "x"}),
    ],
)
def test_an_event_is_one_line_of_json(
    capsys: pytest.CaptureFixture[str], extra: dict[str, Any], expected: dict[str, Any]
) -> None:
    line = logged(capsys, "json", **extra)
    assert line.count("\n") == 1
    said = json.loads(line)
    assert said.pop("timestamp").endswith("Z")
    assert said == {"event": "this failed", "level": "error", "logger": "desk", **expected}


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_traceback_names_lines_and_no_values(capsys: pytest.CaptureFixture[str], form: str) -> None:
    told = logged(capsys, form, exc=1)
    assert "ValueError: no good: 17" in told
    assert "a-customers-words" not in told
