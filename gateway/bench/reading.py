"""What it costs to read a mail, in this process: CPU time, so that neighbours on the machine do not count, and memory.

Beside each figure stands the bare baseline of the same run: the standard library takes the same bytes apart (compat32)
and undoes their transfer encodings, and that is all it does.
"""

from __future__ import annotations

import statistics
import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email import message_from_bytes
from email.message import Message
from typing import Final

from adapters.base import Adapter, InboxOptions, Raw
from gateway.bench import hostile, letters

_TURNS: Final = 8
_ROUNDS: Final = 50  # in each turn: a mail rarely comes alone, and the processor learns the way too
_FACTS: Final = {"mail_from": "anna@customer.example", "rcpt_tos": ["support@localhost"]}
_CPU_LIMIT: Final = 1.5  # seconds, of a mail of 25 MB
_MEMORY_LIMIT: Final = 4.0  # times its size
_HOSTILE_SECONDS: Final = 2.0
_HOSTILE_MIB: Final = 150.0


@dataclass(frozen=True, slots=True)
class Figure:
    """`value` in `unit`; `bare` is the baseline of the same run; `limit` is what the project wants."""

    name: str
    value: float
    unit: str
    limit: float
    bare: float | None = None


def figures(adapter: Adapter[InboxOptions]) -> Iterator[Figure]:
    """All figures of an inbox that reads mail, the quick ones first."""

    def read(body: bytes) -> object:
        return adapter.normalize(Raw(body, "message/rfc822", _FACTS))

    for name, (body, limit) in letters.small_mails().items():
        ours, bare = _medians(body, read, _take_apart)
        yield Figure(f"{name}, median", ours * 1e6, "us", limit, bare * 1e6)
    for name, body in letters.large_mails().items():
        yield Figure(name, _cpu(read, body), "s CPU", _CPU_LIMIT, _cpu(_take_apart, body))
        peaks = (_peak(read, body) / len(body), _peak(_take_apart, body) / len(body))
        yield Figure(f"{name}, memory", peaks[0], "x size", _MEMORY_LIMIT, peaks[1])
    slowest = max((_cpu(read, body), name) for name, body in hostile.mails().items())
    yield Figure(f"slowest hostile mail ({slowest[1]})", slowest[0], "s CPU", _HOSTILE_SECONDS)
    hungriest = max((_peak(read, body), name) for name, body in hostile.mails().items())
    yield Figure(f"hungriest hostile mail ({hungriest[1]})", hungriest[0] / 2**20, "MiB", _HOSTILE_MIB)


def _take_apart(body: bytes) -> object:
    mail: Message = message_from_bytes(body)
    return [part.get_payload(decode=True) for part in mail.walk() if not part.is_multipart()]


def _medians(body: bytes, *ways: Callable[[bytes], object]) -> list[float]:
    """Seconds of CPU of each way, in turns, so that a busy moment falls on all of them."""
    spent: list[list[float]] = [[] for _ in ways]
    for _ in range(_TURNS):
        for way, seconds in zip(ways, spent, strict=True):
            seconds += [_cpu(way, body) for _ in range(_ROUNDS)]
    return [statistics.median(seconds) for seconds in spent]


def _cpu(way: Callable[[bytes], object], body: bytes) -> float:
    start = time.process_time()
    way(body)
    return time.process_time() - start


def _peak(way: Callable[[bytes], object], body: bytes) -> int:
    """Octets at the worst moment, without the mail itself."""
    tracemalloc.start()
    try:
        way(body)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
