"""`frontdesk ingest`: mail from files through the same door as everything else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from gateway.commands.desk import finish, opened, record_everything, taking_in
from gateway.commands.failures import NOT_SO, OK, TEMPORARY, USAGE, CommandError, explain
from gateway.commands.output import byte_progress, note, print_json, print_line
from gateway.ingest import ingest
from gateway.mail.files import STDIN
from gateway.mail.found import Found


def ingest_paths(paths: Sequence[str], *, inbox: str, wait: bool, as_json: bool) -> int:
    """Accept everything these paths hold; see `frontdesk ingest --help`."""
    try:
        code = finish(_ingest(paths, inbox, wait=wait, as_json=as_json))
    except Exception as error:
        # A mail server that pipes mail into us bounces it on any code but 75 (sysexits.h EX_TEMPFAIL).
        if STDIN not in paths:
            raise
        told = explain(error)
        note(f"frontdesk: {told[1] if told else repr(error)}")
        return TEMPORARY
    return TEMPORARY if code and STDIN in paths else code


async def _ingest(paths: Sequence[str], inbox: str, *, wait: bool, as_json: bool) -> int:
    started = time.monotonic()
    async with opened() as runtime:
        if inbox not in runtime.inboxes:
            names = ", ".join(sorted(runtime.inboxes))
            raise CommandError(f"there is no inbox {inbox!r}; the inboxes are {names}", USAGE)
        total = await asyncio.to_thread(_total_bytes, paths)
        with byte_progress("accepting", total) as advance:
            async with taking_in(runtime):
                report = await ingest(runtime, inbox, paths, _reporter(advance, as_json=as_json))
        if not as_json:
            seconds = time.monotonic() - started
            print_line(f"accepted {report.accepted}, refused {len(report.refused)}, in {seconds:.1f} s")
        if wait:
            await record_everything(runtime)
    return NOT_SO if report.refused else OK


def _reporter(advance: Callable[[int], None], *, as_json: bool) -> Callable[[Found, Sequence[str], str], None]:
    """What is told of each message: the bar, for programs a line, and every refusal to the person."""

    def report(found: Found, receipt_ids: Sequence[str], refusal: str) -> None:
        advance(len(found.body))
        if refusal:
            note(f"{found.origin}: {refusal}")
        if as_json:
            print_json({"origin": found.origin, **({"error": refusal} if refusal else {"receipt_ids": receipt_ids})})

    return report


def _total_bytes(paths: Sequence[str]) -> int | None:
    """For the progress bar: roughly what will be read. None when it cannot be known (standard input)."""
    if STDIN in paths:
        return None
    total = 0
    for path in map(Path, paths):
        if path.is_dir():
            total += sum(child.stat().st_size for child in path.rglob("*") if child.is_file())
        elif path.is_file():
            total += path.stat().st_size
    return total
