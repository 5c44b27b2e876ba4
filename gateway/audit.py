"""Promise 4, checked: every delivery a gateway acknowledged has exactly one outcome or still waits.

The gateways' own tallies say what was acknowledged; receipts say what became of it. Neither is computed from the
other, so a row that disappeared is found by its number. See `gateway.tally` for what the numbers mean.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection, and_, func, or_, select

from gateway.intake import CONTROL_CHANNEL
from gateway.queues.base import Depth, QueueUnavailableError
from gateway.store import tables as t

if TYPE_CHECKING:
    from gateway.runtime import Runtime

OUTCOMES: Final = ("ticketed", "appended", "duplicate", "updated", "suspended", "dead", "ignored")
_GLANCE: Final = 0.25
_RANGES: Final = 200  # in one question: SQLite takes no expression a thousand deep
_SHOWN: Final = 20  # missing numbers named a gateway life


@dataclass(slots=True)
class AuditReport:
    """The balance. `missing` names numbers that were acknowledged, have no receipt, and do not wait in the queue."""

    outcomes: dict[str, int] = field(default_factory=dict)
    by_channel: dict[str, dict[str, int]] = field(default_factory=dict)
    queued: int = 0
    queue_error: str = ""
    unrecorded: int = 0  # acknowledged, no receipt yet
    missing: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)  # receipts whose comment is gone, comments without a receipt
    lives: int = 0

    @property
    def recorded(self) -> int:
        """Receipts with an outcome."""
        return sum(self.outcomes.values())

    @property
    def accepted(self) -> int:
        """Deliveries that were made durable."""
        return self.recorded + self.unrecorded

    @property
    def balanced(self) -> bool:
        """Nothing is missing: what has no receipt yet still waits, and every outcome has what it promises."""
        return not self.queue_error and self.unrecorded <= self.queued and not self.broken

    def lines(self) -> list[str]:
        """The audit for a person, the balance last."""
        sums = " + ".join(f"{name} {self.outcomes.get(name, 0)}" for name in OUTCOMES)
        verdict = "cannot be checked now" if self.queue_error else "balanced" if self.balanced else "NOT BALANCED"
        waiting = min(self.unrecorded, self.queued)
        lines = [f"missing: {item}" for item in self.missing if not self.balanced]
        lines += [f"broken: {item}" for item in self.broken]
        if self.queue_error:
            lines.append(f"the queue cannot be asked what waits in it: {self.queue_error}")
        return [*lines, f"accepted {self.accepted} = {sums} + still queued {waiting}: {verdict}"]

    def as_dict(self) -> dict[str, Any]:
        """The audit for a program."""
        return {
            "balanced": self.balanced,
            "accepted": self.accepted,
            "outcomes": {name: self.outcomes.get(name, 0) for name in OUTCOMES},
            "by_channel": self.by_channel,
            "queued": self.queued,
            "queue_error": self.queue_error,
            "unrecorded": self.unrecorded,
            "missing": self.missing,
            "broken": self.broken,
            "gateway_lives": self.lives,
        }


async def audit(runtime: Runtime, *, patience: float = 5.0) -> AuditReport:
    """Hold the tallies against the receipts and the queue.

    A broker does not tell how many messages are in the hands of workers elsewhere, so something without a receipt may
    just be under way: only what stays missing for `patience` seconds is missing.
    """
    ends = time.monotonic() + patience
    while True:
        report = await _look(runtime)
        if report.balanced or report.queue_error or report.broken or time.monotonic() >= ends:
            return report
        await asyncio.sleep(_GLANCE)


async def _look(runtime: Runtime) -> AuditReport:
    """The queue is asked first: what moves on meanwhile is then counted twice rather than missed."""
    report = AuditReport()
    depth = Depth({}, {}, 0)
    try:
        depth = await runtime.queue.depth()
    except QueueUnavailableError as error:
        report.queue_error = str(error)
    report.queued = depth.waiting - depth.waiting_by(CONTROL_CHANNEL) + depth.dead
    await runtime.store.read(_read, report)
    return report


def _read(conn: Connection, report: AuditReport) -> None:
    columns = t.receipts.c
    counts = select(columns.channel, columns.outcome, func.count()).group_by(columns.channel, columns.outcome)
    for channel, outcome, count in conn.execute(counts):
        report.outcomes[outcome] = report.outcomes.get(outcome, 0) + count
        report.by_channel.setdefault(channel, {})[outcome] = count
    for life in conn.execute(select(t.gateway_lives)):
        report.lives += 1
        _check_life(conn, life, report)
    _check_comments(conn, report)


def _check_life(conn: Connection, life: Any, report: AuditReport) -> None:
    columns = t.receipts.c
    promised = life.settled - sum(last - first + 1 for first, last in life.given_up)
    kept = and_(columns.gateway == life.gateway, columns.sequence.between(1, life.settled))
    count = select(func.count(columns.sequence.distinct())).where(kept)
    present = conn.scalar(count) or 0
    for start in range(0, len(life.given_up), _RANGES):
        some = life.given_up[start : start + _RANGES]
        present -= conn.scalar(count.where(or_(*(columns.sequence.between(first, last) for first, last in some)))) or 0
    if present >= promised:
        return
    report.unrecorded += promised - present
    seen = set(conn.scalars(select(columns.sequence).where(kept)))
    gone = [number for number in _promised(life.settled, life.given_up) if number not in seen]
    report.missing += [f"number {number} of gateway {life.gateway}" for number in gone[:_SHOWN]]
    if len(gone) > _SHOWN:
        report.missing.append(f"and {len(gone) - _SHOWN} more of gateway {life.gateway}")


def _promised(settled: int, given_up: Iterable[tuple[int, int]]) -> Iterable[int]:
    refused = {number for first, last in given_up for number in range(first, last + 1)}
    return (number for number in range(1, settled + 1) if number not in refused)


def _check_comments(conn: Connection, report: AuditReport) -> None:
    """A receipt that says "on a ticket" has its comment, one that says "suspended" its row, and the other way round."""
    receipts, comments, suspended = t.receipts, t.comments, t.suspended
    told = receipts.c.outcome.in_(("ticketed", "appended"))
    lost = select(receipts.c.receipt_id).join(comments, comments.c.receipt_id == receipts.c.receipt_id, isouter=True)
    for receipt in conn.scalars(lost.where(told, comments.c.id.is_(None)).limit(_SHOWN)):
        report.broken.append(f"receipt {receipt} says it is on a ticket, and its comment is gone")
    held = select(receipts.c.receipt_id).join(suspended, suspended.c.receipt_id == receipts.c.receipt_id, isouter=True)
    for receipt in conn.scalars(held.where(receipts.c.outcome == "suspended", suspended.c.id.is_(None)).limit(_SHOWN)):
        report.broken.append(f"receipt {receipt} says it is suspended, and what was held is gone")
    freed = select(suspended.c.id).join(receipts, receipts.c.receipt_id == suspended.c.receipt_id, isouter=True)
    waits = suspended.c.decision.is_(None) & receipts.c.outcome.is_distinct_from("suspended")
    for number in conn.scalars(freed.where(waits).limit(_SHOWN)):
        report.broken.append(f"suspended message {number} waits, and its receipt does not say so")
    orphans = select(comments.c.id).join(receipts, comments.c.receipt_id == receipts.c.receipt_id, isouter=True)
    for comment in conn.scalars(orphans.where(receipts.c.receipt_id.is_(None)).limit(_SHOWN)):
        report.broken.append(f"comment {comment} has no receipt")
