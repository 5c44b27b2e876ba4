"""Printing: JSON lines for programs, tables and progress for people, plain text when the output is piped.

Results go to standard output, everything else (progress, notes, errors) to standard error.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any


def print_json(value: Any) -> None:
    """One JSON line. Times become ISO 8601, UUIDs strings, bytes base64."""
    from pydantic_core import to_json  # noqa: PLC0415

    line = to_json(value, bytes_mode="base64", inf_nan_mode="null")
    sys.stdout.flush()
    sys.stdout.buffer.write(line + b"\n")  # UTF-8 whatever the locale says


def print_line(text: str) -> None:
    """One line of a result. A stranger's text cannot move the cursor or recolour the terminal."""
    print(printable(text))


def note(text: str) -> None:
    """A line beside the result."""
    print(printable(text), file=sys.stderr)


def printable(text: str) -> str:
    """The text without control characters, which a customer may have put there (terminal escape injection)."""
    return "".join(char if char.isprintable() or char == "\n" else "\N{REPLACEMENT CHARACTER}" for char in text)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, empty: str) -> None:
    """A table on a terminal; tab-separated with a heading when piped; the sentence `empty` when there are no rows."""
    cells = [[one_line(value) for value in row] for row in rows]
    if not cells:
        note(empty)
        return
    if not sys.stdout.isatty():
        for row in [list(columns), *cells]:
            print("\t".join(row))
        return
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    console = Console()
    texts = [[Text(cell) for cell in row] for row in cells]
    natural = [max(len(name), *(line[at].cell_len for line in texts)) for at, name in enumerate(columns)]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name, width in zip(columns, column_widths(natural, console.width), strict=True):
        table.add_column(name, overflow="ellipsis", no_wrap=True, width=width)
    for line in texts:
        table.add_row(*line)
    console.print(table)


def column_widths(natural: Sequence[int], room: int) -> list[int]:
    """Widths that fit `room` with two spaces between columns. The first names the row and is never cut; of the others
    the widest give way, down to 4 each: a list that does not fit even so is wider than the terminal."""
    left = room - natural[0] - 2 * (len(natural) - 1)
    cap = max(min(max(natural), room), 4)
    while cap > 4 and sum(min(width, cap) for width in natural[1:]) > left:
        cap -= 1
    return [natural[0], *(min(width, cap) for width in natural[1:])]


def one_line(value: Any) -> str:
    """A value as a cell: white space collapsed, controls shown harmless, None empty."""
    if value is None:
        return ""
    if hasattr(value, "isoformat"):
        return str(value.isoformat(sep=" ", timespec="seconds"))
    return printable(" ".join(str(value).split()))


@contextmanager
def byte_progress(what: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """A bar on standard error that counts bytes; silent when piped. Gives the function that advances it."""
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda count: bar.advance(task, count)
