"""The figures side by side: columns for a terminal, Markdown for `deploy/bench.md`, which the README quotes."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from gateway.bench.drive import Driven
from gateway.bench.stage import Result, Stack

_MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Table:
    """A heading and rows of the same length."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]


def machine() -> str:
    """On what it was measured."""
    return (
        f"{os.cpu_count()} CPUs ({_processor()}), Python {platform.python_version()}; "
        "everything on this machine, the client included"
    )


def lines(
    stacks: Sequence[Stack],
    loads: Sequence[Driven],
    more: Sequence[Table] = (),
    audits: Sequence[tuple[str, str]] = (),
) -> Iterator[str]:
    """The whole report for a terminal; `more` tables and `audits` (of what, what it said) are those of others."""
    yield f"{machine()}; load average now {os.getloadavg()[0]:.1f}"
    for table in (*_tables(stacks, loads), *more):
        yield ""
        yield from _columns(table)
    yield ""
    for name, told in (*_audits(stacks, loads), *audits):
        yield f"audit, {name}: {told}"


def markdown(
    stacks: Sequence[Stack],
    loads: Sequence[Driven],
    now: datetime,
    more: Sequence[Table] = (),
    audits: Sequence[tuple[str, str]] = (),
) -> str:
    """The same for a page, with its date."""
    # A run keeps two cores busy with about 3; what is far above that was somebody else, and the rates are too low.
    busy = f"load average of the last 15 minutes {os.getloadavg()[2]:.1f}"
    parts = [f"Measured {now.astimezone(UTC):%Y-%m-%d} by `make bench` on {machine()}; {busy}."]
    for table in (*_tables(stacks, loads), *more):
        rows = [table.head, ["---", *["---:"] * (len(table.head) - 1)], *table.rows]
        parts.append("\n".join(f"| {' | '.join(row)} |" for row in rows))
    unbalanced = [name for name, told in (*_audits(stacks, loads), *audits) if not told.endswith("balanced")]
    parts.append(f"Audits that do not balance: {', '.join(unbalanced)}." if unbalanced else "Every audit balances.")
    return "\n\n".join(parts) + "\n"


def _processor() -> str:
    try:
        models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
        return models[0].partition(":")[2].strip()
    except (OSError, IndexError):
        return platform.machine()


def _audits(stacks: Sequence[Stack], loads: Sequence[Driven]) -> list[tuple[str, str]]:
    return [(stack.name, stack.audit) for stack in stacks] + [
        (f"{load.stack}, {load.what}", load.audit) for load in loads
    ]


def _tables(stacks: Sequence[Stack], loads: Sequence[Driven]) -> Iterator[Table]:
    results = [result for stack in stacks for result in stack.results]
    if loads:
        yield _loads(loads)
    if results:
        yield _throughput(results)
        yield _latency(results)
    for load in loads:
        yield _used(f"{load.stack}, {load.what}", {"CPU us/delivery": load.cpu_s}, load.deliveries, load.peak_bytes)
    for stack in stacks:
        spent = {f"CPU {result.kind} us/message": result.cpu_s for result in stack.results}
        peaks = {name: max(result.peak_bytes[name] for result in stack.results) for name in stack.results[0].peak_bytes}
        yield _used(stack.name, spent, stack.results[0].messages, peaks)


def _loads(loads: Sequence[Driven]) -> Table:
    head = ("load", "deliveries", "seconds", "accepted/s", "recorded/s", "accept p50", "p99", "to visible p50", "p99")
    return Table(
        head,
        [
            (
                f"{load.stack}: {load.what}",
                f"{load.deliveries:,}",
                f"{load.seconds:.1f}",
                f"{load.accepted_per_s:,.0f}",
                f"{load.ticketed_per_s:,.0f}",
                *_milliseconds(load.accept_ms),
                *_milliseconds(load.visible_ms),
            )
            for load in loads
        ],
    )


def _throughput(results: Sequence[Result]) -> Table:
    head = ("2 KB each", "messages", "accepted/s", "in tickets/s", "bare publishes/s", "bare rows/s by 100")
    return Table(
        head,
        [
            (
                f"{result.stack}: {result.kind}s",
                f"{result.messages:,}",
                f"{result.accepted_per_s:,.0f}",
                f"{result.ticketed_per_s:,.0f}",
                f"{result.bare_publish_per_s:,.0f}",
                f"{result.bare_insert_per_s:,.0f}",
            )
            for result in results
        ],
    )


def _latency(results: Sequence[Result]) -> Table:
    head = ("2 KB each", "at", "accept p50", "p99", "accept to visible p50", "p99")
    return Table(
        head,
        [
            (
                f"{result.stack}: {result.kind}s",
                f"{result.paced_per_s:.0f}/s",
                *_milliseconds(result.accept_ms),
                *_milliseconds(result.visible_ms),
            )
            for result in results
        ],
    )


def _milliseconds(found: Mapping[str, float]) -> list[str]:
    return [f"{found[name]:.0f} ms" if name in found else "" for name in ("p50", "p99")]


def _used(title: str, spent: Mapping[str, Mapping[str, float]], count: int, peaks: Mapping[str, int]) -> Table:
    rows = [
        (name, *(f"{seconds[name] / count * 1e6:,.0f}" for seconds in spent.values()), f"{peaks[name] / _MIB:,.0f}")
        for name in peaks
    ]
    return Table((title, *spent, "peak RSS MiB"), rows)


def _columns(table: Table) -> Iterator[str]:
    """The first column to the left, figures to the right."""
    widths = [max(map(len, column)) for column in zip(table.head, *table.rows, strict=True)]
    for row in [table.head, *table.rows]:
        cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
        yield "  ".join([row[0].ljust(widths[0]), *cells[1:]])
