"""The figures side by side, for people."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Sequence
from typing import Final

from gateway.bench.stage import Result, Stack

_MIB: Final = 1 << 20


def lines(stacks: Sequence[Stack]) -> Iterator[str]:
    """The whole report."""
    load = os.getloadavg()[0]
    yield (
        f"{os.cpu_count()} CPUs, {platform.machine()}, Python {platform.python_version()}; everything on this machine, "
        f"the client included; load average now {load:.1f}"
    )
    yield ""
    yield from _throughput([result for stack in stacks for result in stack.results])
    yield ""
    yield from _latency([result for stack in stacks for result in stack.results])
    for stack in stacks:
        yield ""
        yield from _processes(stack)
        yield f"audit, {stack.name}: {stack.audit}"


def _throughput(results: Sequence[Result]) -> Iterator[str]:
    head = (
        "stack",
        "2 KB",
        "messages",
        "accepted/s",
        "in tickets/s",
        "bare publishes/s",
        "bare rows/s by 100",
    )
    yield from _table(
        head,
        [
            (
                result.stack,
                result.kind,
                f"{result.messages:,}",
                f"{result.accepted_per_s:,.0f}",
                f"{result.ticketed_per_s:,.0f}",
                f"{result.bare_publish_per_s:,.0f}",
                f"{result.bare_insert_per_s:,.0f}",
            )
            for result in results
        ],
    )


def _latency(results: Sequence[Result]) -> Iterator[str]:
    head = ("stack", "2 KB", "paced at", "accept p50", "p99", "accept to visible p50", "p99")
    yield from _table(
        head,
        [
            (
                result.stack,
                result.kind,
                f"{result.paced_per_s:.0f}/s",
                *(f"{result.accept_ms[name]:.1f} ms" for name in ("p50", "p99")),
                *(f"{result.visible_ms[name]:.1f} ms" for name in ("p50", "p99")),
            )
            for result in results
        ],
    )


def _processes(stack: Stack) -> Iterator[str]:
    head = ["process", *(f"CPU {result.kind} us/message" for result in stack.results), "peak RSS MiB"]
    rows = []
    for name in stack.results[0].cpu_s:
        spent = [f"{result.cpu_s[name] / result.messages * 1e6:,.0f}" for result in stack.results]
        peak = max(result.peak_bytes[name] for result in stack.results)
        rows.append((f"{stack.name}: {name}", *spent, f"{peak / _MIB:,.0f}"))
    yield from _table(head, rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """The first column to the left, figures to the right."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for row in [head, *rows]:
        cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
        yield "  ".join([row[0].ljust(widths[0]), *cells[1:]])
