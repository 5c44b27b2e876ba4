"""`frontdesk demo`: a desk of its own, a morning's messages through its front doors, and what became of them."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from sqlalchemy import Connection, func, select

from gateway import up
from gateway.audit import audit
from gateway.demo import report
from gateway.demo.sending import DemoResult, run_demo
from gateway.demo.sending import Progress as Advance
from gateway.demo.settings import demo_desk
from gateway.demo.shapes import CHANNELS, Traffic
from gateway.demo.target import Target
from gateway.demo.traffic import make_traffic
from gateway.runtime import Runtime
from gateway.settings import Settings
from gateway.store.receipts import outcome_table
from gateway.store.tables import gateway_lives

SEED: Final = 20261121
OK, NOT_SO, INTERRUPTED = 0, 1, 130
_PATIENCE: Final = 60.0  # seconds without any progress before the demo stops waiting and lets the audit speak
_GLANCE: Final = 0.1


async def demo(exit_after: bool, data_dir: Path | None) -> int:
    """The whole demonstration. 0; 1 when the audit does not balance or something was not accepted; 130 by Ctrl-C."""
    console = Console(highlight=False)
    with _folder(data_dir) as folder:
        settings, target = demo_desk(folder)
        ready, stop = asyncio.Event(), asyncio.Event()
        desk = asyncio.create_task(up.run(settings, {"serve", "work"}, quiet=True, ready=ready, stop=stop))
        try:
            if not await _before(desk, asyncio.create_task(ready.wait())):
                return desk.result() or INTERRUPTED
            shown = asyncio.create_task(
                _show(settings, target, console, stays=not exit_after, kept=data_dir is not None)
            )
            if not await _before(desk, shown):
                return INTERRUPTED
            if not exit_after:
                await desk
            return shown.result()
        finally:
            stop.set()
            await asyncio.gather(desk, return_exceptions=True)


async def _before(desk: asyncio.Task[int], task: asyncio.Task[Any]) -> bool:
    """Whether the task ends before the desk does; it is cancelled otherwise. Raises what the desk raised."""
    await asyncio.wait((desk, task), return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        return True
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    desk.result()
    return False


async def _show(settings: Settings, target: Target, console: Console, *, stays: bool, kept: bool) -> int:
    """Send, wait, print. A second runtime reads what the desk's own writes, as `frontdesk audit` does."""
    runtime = Runtime(settings)
    await runtime.start()
    try:
        before = await _outcomes(runtime)
        earlier = await runtime.store.read(_accepted)
        traffic = await asyncio.to_thread(make_traffic, SEED, datetime.now(UTC))
        started = time.monotonic()
        with _bars(console, traffic) as advance:
            result = await run_demo(target, traffic, progress=advance)
        recorded = await _recorded(runtime, before, result, earlier)
        seconds = recorded - started
        balance = await audit(runtime)
        report.print_report(
            console,
            sent=result.acknowledged,
            outcomes=_difference(await _outcomes(runtime), before),
            audit=balance.lines(),
            balanced=balance.balanced,
            seconds=seconds,
            failures=result.failures,
        )
        link = f"{settings.base_url}/console/login?token={runtime.logins.issue()}"
        if stays or kept:
            report.print_where(console, link, str(settings.data_dir), stays=stays)
        return OK if balance.balanced and not result.failures else NOT_SO
    finally:
        await runtime.close()


async def _recorded(runtime: Runtime, before: report.Counts, result: DemoResult, earlier: int) -> float:
    """Wait until every acknowledged delivery has its outcome and the gateway's tally says so too; when the last
    outcome came, by the monotonic clock. Gives up after `_PATIENCE` seconds in which nothing moved."""
    wanted = result.acknowledged.total()
    had, moved, finished = -1, time.monotonic(), 0.0
    while time.monotonic() - moved < _PATIENCE:
        have = _total(_difference(await _outcomes(runtime), before))
        if have > had:
            had, moved = have, time.monotonic()
        if have >= wanted and not finished:
            finished = time.monotonic()
        if finished and await runtime.store.read(_accepted) - earlier >= wanted:
            break
        await asyncio.sleep(_GLANCE)
    return finished or time.monotonic()


async def _outcomes(runtime: Runtime) -> report.Counts:
    return await runtime.store.read(outcome_table)


def _accepted(conn: Connection) -> int:
    """What the gateway's lives say they acknowledged."""
    return conn.scalar(select(func.coalesce(func.sum(gateway_lives.c.accepted), 0))) or 0


def _difference(now: report.Counts, before: report.Counts) -> dict[str, dict[str, int]]:
    return {
        channel: {name: count - before.get(channel, {}).get(name, 0) for name, count in row.items()}
        for channel, row in now.items()
    }


def _total(counts: Mapping[str, Mapping[str, int]]) -> int:
    return sum(sum(row.values()) for row in counts.values())


@contextmanager
def _bars(console: Console, traffic: Traffic) -> Iterator[Advance]:
    """A bar a channel on a terminal; elsewhere one line, for logs."""
    totals = traffic.count()
    console.print(f"Sending {sum(totals.values())} deliveries through the front doors")
    columns = (TextColumn("{task.description:>8}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        tasks = {channel: bars.add_task(channel, total=totals[channel]) for channel in CHANNELS}
        yield lambda channel, count: bars.advance(tasks[channel], count)


@contextmanager
def _folder(data_dir: Path | None) -> Iterator[Path]:
    """The given folder, or a temporary one that goes with the demo."""
    if data_dir is not None:
        yield data_dir
        return
    with tempfile.TemporaryDirectory(prefix="frontdesk-demo-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)
