"""Whether a process that runs for long stays as it is: memory, descriptors, threads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

_WARM_MINUTES: Final = 0.9  # of a life, which tell nothing
_SLOPE: Final = 2 << 20  # bytes a process may grow a minute, on average, once it is warm
_ONCE: Final = 8 << 20  # bytes that one large batch, as after a fault, may leave for good however short the soak is
_MORE_DESCRIPTORS: Final = 16
_MORE_THREADS: Final = 8


@dataclass(frozen=True, slots=True)
class Sample:
    """One process when nothing is wrong."""

    minute: float
    pid: int
    resident: int
    descriptors: int
    threads: int


def find_leaks(name: str, samples: Sequence[Sample]) -> Iterator[str]:
    """What a process has more and more of, in a sentence each; one that was started again begins anew."""
    lives: dict[int, list[Sample]] = {}
    for sample in samples:
        lives.setdefault(sample.pid, []).append(sample)
    for life in lives.values():
        warm = [sample for sample in life if sample.minute > life[0].minute + _WARM_MINUTES]
        if len(warm) >= 3:
            yield from _compare(name, warm[0], warm[-1])


def _compare(name: str, first: Sample, last: Sample) -> Iterator[str]:
    minutes = last.minute - first.minute
    grown = last.resident - first.resident
    if grown > max(_ONCE, _SLOPE * minutes):
        yield f"{name} grew by {grown / (1 << 20):.1f} MiB in {minutes:.1f} minutes"
    if last.descriptors > first.descriptors + _MORE_DESCRIPTORS:
        yield f"{name} leaks descriptors: {first.descriptors}, then {last.descriptors}"
    if last.threads > first.threads + _MORE_THREADS:
        yield f"{name} leaks threads: {first.threads}, then {last.threads}"
