"""Who gives way does so in its session, where Linux shares the processors between sessions."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.precedence import give_way, lower

_AUTOGROUP = Path("/proc/self/autogroup")
_PROGRAM = """
import os
from pathlib import Path
from gateway.precedence import give_way
give_way(3)
autogroup = Path("/proc/self/autogroup")
session = autogroup.read_text().split()[-1] if autogroup.exists() else ""
print(os.nice(0), *sorted(os.sched_getaffinity(0)), "|", session)
"""


def test_a_process_gives_way_in_its_session_and_leaves_one_processor() -> None:
    words = [sys.executable, "-c", _PROGRAM]
    child = subprocess.run(words, capture_output=True, text=True, check=True, start_new_session=True)
    mine, _, session = child.stdout.partition(" | ")
    itself, *processors = map(int, mine.split())
    everywhere = sorted(os.sched_getaffinity(0))
    assert itself == os.nice(0) + 3
    assert processors == (everywhere[1:] or everywhere)
    assert session.split() == (["3"] if _AUTOGROUP.exists() else [])  # a kernel without sessions knows niceness alone


def test_a_sandbox_that_forbids_it_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker of a desk gives way first of all: if that ended it, nothing would ever be recorded."""

    def forbid(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    for name in ("sched_setaffinity", "open"):
        monkeypatch.setattr(os, name, forbid)
    give_way(0)


def test_a_kernel_that_says_later_is_asked_later() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    while True:
        try:
            os.write(writing, b"x" * 4096)
        except BlockingIOError:
            break
    waited: list[float] = []

    def make_room(seconds: float) -> None:
        waited.append(seconds)
        os.read(reading, 1 << 20)

    lower(writing, 3, wait=make_room)
    assert len(waited) == 1
    assert os.read(reading, 1 << 20) == b"3"
    os.close(reading)
    os.close(writing)
