"""Mail from files through the same door as everything else: bounded in memory, and safe to run again.

What was accepted before is recognised as a duplicate, so an interrupted run is simply repeated.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from adapters.base import Raw, Refused
from gateway.intake import NotDurableError
from gateway.mail.dates import original_date
from gateway.mail.files import read_all
from gateway.mail.found import MAIL, Found

if TYPE_CHECKING:
    from gateway.runtime import Runtime

AT_ONCE: Final = 64  # one fsync or confirm then serves many messages
IN_FLIGHT: Final = 64 * 1024 * 1024  # bytes of messages handed to the door and not yet answered
_HOP: Final = 4 * 1024 * 1024  # bytes read in one visit to the reading thread
_TRIES: Final = 5
_LONGEST_WAIT: Final = 5.0  # seconds

Progress = Callable[[Found, Sequence[str], str], None]
"""Called once a message: what was found, its receipt ids, and the reason when it was refused (else "")."""


@dataclass
class IngestReport:
    """What became of the paths. `refused` are (origin, sentence)."""

    accepted: int = 0
    refused: list[tuple[str, str]] = field(default_factory=list)
    receipts: int = 0


async def sources(paths: Sequence[str]) -> AsyncIterator[Found]:
    """Every message of these paths in order, read in a thread so that a slow disk stalls nobody."""
    reader = read_all(paths)
    while batch := await asyncio.to_thread(_take, reader):
        for found in batch:
            yield found


def _take(reader: Iterator[Found]) -> list[Found]:
    batch: list[Found] = []
    size = 0
    for found in reader:
        batch.append(found)
        size += len(found.body)
        if len(batch) >= AT_ONCE or size >= _HOP:
            break
    return batch


async def ingest(
    runtime: Runtime, inbox_name: str, paths: Sequence[str], progress: Progress | None = None
) -> IngestReport:
    """Accept everything these paths hold, about `AT_ONCE` at a time.

    Refused: what is not readable, what names an inbox that does not exist, what the adapter refuses. Raises
    `NotDurableError` when nothing can be stored even after waiting; running it again continues.
    """
    report = IngestReport()
    pending: dict[asyncio.Task[None], int] = {}
    try:
        async for found in sources(paths):
            while len(pending) >= AT_ONCE or (pending and sum(pending.values()) + len(found.body) > IN_FLIGHT):
                await _settle(pending)
            pending[asyncio.create_task(_take_in(runtime, inbox_name, found, report, progress))] = len(found.body)
        while pending:
            await _settle(pending)
    finally:
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
    return report


async def _settle(pending: dict[asyncio.Task[None], int]) -> None:
    done, _ = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        del pending[task]
    for task in done:
        task.result()


async def _take_in(
    runtime: Runtime, inbox_name: str, found: Found, report: IngestReport, progress: Progress | None
) -> None:
    receipts: list[str] = []
    sentence = found.error
    if not sentence:
        try:
            receipts = await _accept(runtime, found.inbox or inbox_name, found)
        except Refused as refusal:
            sentence = str(refusal)
    if sentence:
        report.refused.append((found.origin, sentence))
    else:
        report.accepted += 1
        report.receipts += len(receipts)
    if progress is not None:
        progress(found, receipts, sentence)


async def _accept(runtime: Runtime, inbox_name: str, found: Found) -> list[str]:
    inbox = runtime.inboxes.get(inbox_name)
    if inbox is None:
        raise Refused(404, f"there is no inbox {inbox_name!r}; the inboxes are {', '.join(sorted(runtime.inboxes))}")
    raw = Raw(found.body, found.content_type, {"source": found.origin, **found.facts}, came_at=_came_at(found))
    for tries in range(1, _TRIES + 1):
        try:
            return [str(receipt.receipt_id) for receipt in await runtime.intake.accept(inbox, raw)]
        except NotDurableError as error:
            if tries == _TRIES:
                raise
            await asyncio.sleep(min(error.retry_after, _LONGEST_WAIT))
    raise AssertionError("unreachable")


def _came_at(found: Found) -> datetime | None:
    """When an archived mail came, so that its ticket is as old as it is; None: now."""
    if found.content_type != MAIL or not found.archived:
        return None
    return original_date(found.body, found.stored_at, datetime.now(UTC))
