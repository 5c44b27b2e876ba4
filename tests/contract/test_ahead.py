"""What a broker handed out ahead of its worker: bounded in memory, whole when it is wanted, gone without a trace."""

from __future__ import annotations

import os
import random
import resource
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.queues import ahead
from gateway.queues.ahead import Ahead, Kept
from gateway.queues.base import Delivered
from tests.contract.backends import open_files

_MOST = 1000
_BLANK = Delivered(b"", "frontdesk.message.v1", "receipt", "email", "support", 0, None)


def _delivery(number: int, octets: int) -> Delivered:
    return replace(_BLANK, body=random.Random(number).randbytes(octets), receipt_id=str(number))


def _in_memory(kept: list[Kept]) -> int:
    return sum(len(each.delivery.body) for each in kept)


@given(st.lists(st.tuples(st.integers(0, 700), st.sampled_from(["keep", "keep", "first", "last", "forget"]))))
def test_everything_comes_back_whole(tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, str]]) -> None:
    """In whatever order it is wanted, and memory never has more than it may."""
    folder = tmp_path_factory.mktemp("ahead")
    all_of_it, waiting = Ahead(folder, _MOST), []
    for number, (octets, step) in enumerate(steps):
        delivery = _delivery(number, octets)
        if step == "keep":
            waiting.append((delivery, all_of_it.keep(delivery)))
        elif waiting:
            given_in, kept = waiting.pop(0 if step == "first" else -1)
            if step == "forget":
                all_of_it.forget(kept)
            else:
                assert all_of_it.bring_back(kept) == given_in
        assert _in_memory([kept for _, kept in waiting]) <= _MOST
    for delivery, kept in waiting:
        assert all_of_it.bring_back(kept) == delivery
    assert open_files(folder) == []


def test_what_was_read_makes_room_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backlog that never ends does not grow a file that never ends; none of them has a name."""
    monkeypatch.setattr(ahead, "_SHEET", 2500)
    folder = tmp_path / "not" / "there" / "yet"
    all_of_it = Ahead(folder, 0)
    waiting = [all_of_it.keep(_delivery(number, 1000)) for number in range(6)]
    files = []
    for number in range(6, 60):
        waiting.append(all_of_it.keep(_delivery(number, 1000)))
        assert all_of_it.bring_back(waiting.pop(0)) == _delivery(number - 6, 1000)
        files.append(len(open_files(folder)))
    assert 2 <= max(files) <= 3
    assert list(folder.iterdir()) == []
    for kept in waiting:
        all_of_it.forget(kept)
    assert open_files(folder) == []


def test_without_a_disk_it_waits_in_memory(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    all_of_it = Ahead(tmp_path / "file", _MOST)
    waiting = [all_of_it.keep(_delivery(number, 600)) for number in range(3)]
    assert _in_memory(waiting) == 1800
    assert caplog.messages == ["a large message waits in memory, as no file takes it: File exists"] * 2
    assert [all_of_it.bring_back(kept) for kept in waiting] == [_delivery(number, 600) for number in range(3)]


def test_half_of_a_body_is_not_handed_out(tmp_path: Path) -> None:
    all_of_it = Ahead(tmp_path, 0)
    kept = all_of_it.keep(_delivery(1, 600))
    [file] = open_files(tmp_path)
    os.truncate(file, 300)
    with pytest.raises(OSError, match="600 octets were written and 300 can be read"):
        all_of_it.bring_back(kept)
    assert open_files(tmp_path) == []


def test_a_full_disk_keeps_neither_the_message_nor_a_file(tmp_path: Path) -> None:
    """A limit on a file's size stands for a disk without room (setrlimit(2)); both fail the write half way."""
    all_of_it = Ahead(tmp_path, 0)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        waiting = [all_of_it.keep(_delivery(1, 1500))]
        assert open_files(tmp_path) == []
        waiting += [all_of_it.keep(_delivery(number, 600)) for number in (2, 3)]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert _in_memory(waiting) == 1500 + 600
    assert [all_of_it.bring_back(kept) for kept in waiting] == [
        _delivery(1, 1500),
        _delivery(2, 600),
        _delivery(3, 600),
    ]
