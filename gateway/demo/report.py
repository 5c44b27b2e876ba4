"""What became of it all: one table, one line of audit, one address."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway.demo.shapes import CHANNELS

OUTCOMES = ("ticketed", "appended", "duplicate", "updated", "suspended", "ignored", "dead")
Counts = Mapping[str, Mapping[str, int]]
"""channel -> outcome -> how many"""


def print_report(
    console: Console,
    *,
    sent: Mapping[str, int],
    outcomes: Counts,
    audit: Sequence[str],
    balanced: bool,
    seconds: float,
    failures: Sequence[str] = (),
) -> None:
    """The table by channel, then the audit, then what could not be sent (nothing, one hopes)."""
    console.print(_table(sent, outcomes))
    total = sum(sent.values())
    console.print(Text(f"{total} deliveries acknowledged and worked through in {seconds:.1f} s"))
    for line in audit:
        console.print(Text(line, style="green" if balanced else "bold red"), soft_wrap=True)
    for failure in failures[:10]:
        console.print(Text(f"not accepted: {failure}", style="bold red"), soft_wrap=True)
    if len(failures) > 10:
        console.print(Text(f"... and {len(failures) - 10} more", style="bold red"))


def print_where(console: Console, console_url: str, data_dir: str, *, stays: bool) -> None:
    """Where the data is and, if the desk stays, where to look at it."""
    console.print(Text(f"The data is in {data_dir}"), soft_wrap=True)
    if stays:
        console.print(Text("Look at it: ") + Text(console_url, style="bold cyan"), soft_wrap=True)
        console.print(Text("The link opens once. Ctrl-C ends the demo."))


def _table(sent: Mapping[str, int], outcomes: Counts) -> Table:
    shown = [name for name in OUTCOMES if name != "dead" or any(row.get("dead") for row in outcomes.values())]
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("channel")
    for heading in ("accepted", *shown):
        table.add_column(heading, justify="right")
    for channel in CHANNELS:
        row = outcomes.get(channel, {})
        table.add_row(channel, str(sent.get(channel, 0)), *(_cell(row.get(name, 0)) for name in shown))
    totals = [sum(outcomes.get(channel, {}).get(name, 0) for channel in CHANNELS) for name in shown]
    table.add_section()
    table.add_row("all", str(sum(sent.values())), *map(_cell, totals), style="bold")
    return table


def _cell(count: int) -> str:
    return str(count) if count else "·"
