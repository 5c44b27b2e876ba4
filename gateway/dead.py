"""Dead letters: what could not be recorded, kept whole until a person replays or drops it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import ColumnElement, Connection, delete, func, insert, select

from gateway.queues.base import Outgoing
from gateway.store import tables as t
from gateway.store.engine import lock_ledger

if TYPE_CHECKING:
    from gateway.runtime import Runtime

_C = t.dead_letters.c
_HEAD = (_C.id, _C.receipt_id, _C.channel, _C.inbox, _C.type, _C.reason, _C.attempts, _C.died_at, _C.replayed_at)


_BATCH: Final = 100  # bodies in memory at once


@dataclass(frozen=True, slots=True)
class Choice:
    """Which dead letters: of a channel, an inbox, with these words in their reason. Empty: any.

    `replayed`: only those that have been recorded after all (True), only the others (False), or both (None).
    """

    channel: str = ""
    inbox: str = ""
    reason: str = ""
    replayed: bool | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        """For a WHERE."""
        found: list[ColumnElement[bool]] = []
        if self.channel:
            found.append(_C.channel == self.channel)
        if self.inbox:
            found.append(_C.inbox == self.inbox)
        if self.reason:
            found.append(_C.reason.icontains(self.reason, autoescape=True))
        if self.replayed is not None:
            found.append(_C.replayed_at.is_not(None) if self.replayed else _C.replayed_at.is_(None))
        return found


def list_dead(conn: Connection, choice: Choice | None = None) -> list[dict[str, Any]]:
    """Dead letters without their bodies, oldest first; `replayed_at` is set once it has been recorded after all."""
    query = select(*_HEAD).where(*(choice or Choice()).conditions()).order_by(_C.id)
    return [dict(row._mapping) for row in conn.execute(query)]


def choose_dead(conn: Connection, choice: Choice) -> list[int]:
    """Their numbers, oldest first."""
    return list(conn.scalars(select(_C.id).where(*choice.conditions()).order_by(_C.id)))


def show_dead(conn: Connection, letter_id: int) -> dict[str, Any] | None:
    """One dead letter with its body; None when there is none of that number."""
    row = conn.execute(select(t.dead_letters).where(_C.id == letter_id)).one_or_none()
    return dict(row._mapping) if row else None


async def replay(runtime: Runtime, ids: Sequence[int], dry_run: bool = False) -> list[int]:
    """Publish dead letters again under their own receipts; returns their numbers.

    Recording recognises a receipt that has an outcome, so replaying twice, or what was recorded after all, changes
    nothing.
    """
    known = await runtime.store.read(_known, ids)
    for first in range(0, 0 if dry_run else len(known), _BATCH):
        rows = await runtime.store.read(_bodies, known[first : first + _BATCH])
        await runtime.queue.publish(
            [Outgoing(row.body, row.type, str(row.receipt_id), row.channel, row.inbox) for row in rows]
        )
    return known


def drop(conn: Connection, letter_id: int) -> bool:
    """Erase a dead letter on a person's word. Its receipt stays, and an event says what was dropped."""
    lock_ledger(conn)
    row = conn.execute(select(_C.receipt_id, _C.channel, _C.inbox, _C.reason).where(_C.id == letter_id)).one_or_none()
    if row is None:
        return False
    conn.execute(delete(t.dead_letters).where(_C.id == letter_id))
    number = (conn.scalar(select(func.max(t.events.c.id))) or 0) + 1
    detail = {"receipt_id": str(row.receipt_id), "channel": row.channel, "inbox": row.inbox, "reason": row.reason}
    conn.execute(
        insert(t.events).values(id=number, ticket_id=None, kind="dropped", detail=detail, at=datetime.now(UTC))
    )
    return True


def _known(conn: Connection, ids: Sequence[int]) -> list[int]:
    wanted = set(ids)
    return [number for number in conn.scalars(select(_C.id).order_by(_C.id)) if number in wanted]


def _bodies(conn: Connection, ids: Sequence[int]) -> list[Any]:
    return list(conn.execute(select(t.dead_letters).where(_C.id.in_(list(ids))).order_by(_C.id)))
