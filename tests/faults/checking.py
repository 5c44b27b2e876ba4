"""The total-queue check: what was attempted, what was acknowledged, what is stored; and the audit's own word."""

from __future__ import annotations

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Connection, select
from sqlalchemy.exc import DBAPIError

from gateway.store import tables as t
from gateway.store.engine import Store, open_store
from tests.faults.desk import Desk
from tests.faults.journal import Fact, Journal

_OPENING: Final = ("call.ended", "call.recording_ready")
_DRAIN_SECONDS: Final = 60.0  # from the end of the last fault to the last ticket, without anybody's help


@dataclass(slots=True)
class Stored:
    """What the store holds, keyed as the senders know it."""

    comments: dict[tuple[str, str], list[Any]] = field(default_factory=lambda: defaultdict(list))
    facts: set[Fact] = field(default_factory=set)  # calls: which events were taken in
    receipts: dict[str, Any] = field(default_factory=dict)
    comment_of: dict[str, int] = field(default_factory=dict)  # receipt of a message on a ticket -> its comment
    outcomes: Counter[str] = field(default_factory=Counter)
    dead: list[str] = field(default_factory=list)
    suspended: int = 0


def read_stored(conn: Connection) -> Stored:
    """Everything, in one transaction."""
    stored = Stored()
    for row in conn.execute(select(t.receipts)):
        stored.receipts[str(row.receipt_id)] = row
        stored.outcomes[row.outcome] += 1
    columns = t.comments.c
    chosen = (columns.id, columns.ticket_id, columns.receipt_id, columns.channel, columns.external_id, columns.text)
    for row in conn.execute(select(*chosen)):
        stored.comments[row.channel, row.external_id].append(row)
        stored.comment_of[str(row.receipt_id)] = row.id
    for row in conn.execute(select(t.update_facts.c.facts)):
        if row.facts["event"] != "call.silent":  # nobody sent it: the worker gave a call up that it heard no end of
            stored.facts.add(Fact("phone", row.facts["call"], row.facts["event"]))
    letters = t.dead_letters.c
    stored.dead = list(conn.scalars(select(letters.reason).where(letters.replayed_at.is_(None))))
    stored.suspended = len(conn.execute(select(t.suspended.c.id)).all())
    return stored


@dataclass(slots=True)
class Balance:
    """The verdict."""

    attempted: int
    acknowledged: int
    stored: int
    recovered: int  # stored although no sender was told: allowed, counted
    duplicates: int  # deliveries recognised as such
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return not (self.lost or self.doubled or self.unexpected or self.wrong)

    def __str__(self) -> str:
        numbers = (
            f"attempted {self.attempted}, acknowledged {self.acknowledged}, stored {self.stored}, "
            f"recovered {self.recovered}, duplicates {self.duplicates}, lost {len(self.lost)}, "
            f"doubled {len(self.doubled)}, unexpected {len(self.unexpected)}, wrong {len(self.wrong)}"
        )
        details = [*self.lost, *self.doubled, *self.unexpected, *self.wrong][:20]
        return "\n".join([numbers, *details])


def hold_against(journal: Journal, stored: Stored) -> Balance:
    """Compare the senders' journal with the store."""
    present = {fact for fact in journal.attempted if _is_stored(fact, stored)}
    balance = Balance(
        attempted=len(journal.attempted),
        acknowledged=len(journal.acknowledged),
        stored=len(present),
        recovered=len(present - journal.acknowledged.keys()),
        duplicates=stored.outcomes["duplicate"],
    )
    balance.lost = [f"lost: {fact}" for fact in journal.acknowledged if fact not in present]
    balance.lost += list(_lost_receipts(journal, stored))
    known = {(fact.channel, fact.external_id) for fact in journal.attempted}
    for key, rows in stored.comments.items():
        if key not in known:
            balance.unexpected.append(f"unexpected: {key}")
        elif len(rows) > 1:
            balance.doubled.append(f"doubled: {key} in comments {[row.id for row in rows]}")
    balance.wrong = [*_wrong_words(journal, stored, present), *journal.refused]
    balance.wrong += [f"dead letter: {reason}" for reason in stored.dead]
    if stored.suspended:
        balance.wrong.append(f"{stored.suspended} messages were suspended")
    return balance


def _is_stored(fact: Fact, stored: Stored) -> bool:
    return fact in stored.facts if fact.part else (fact.channel, fact.external_id) in stored.comments


def _lost_receipts(journal: Journal, stored: Stored) -> Iterable[str]:
    """Every receipt a sender was told leads to the comment with that sender's words."""
    for fact, receipt in journal.acknowledged.items():
        if not receipt:
            continue
        row = stored.receipts.get(receipt)
        if row is None:
            yield f"lost: receipt {receipt} of {fact} has no outcome"
            continue
        ids = {comment.id for comment in stored.comments[fact.channel, fact.external_id]}
        where = row.comment_id if row.duplicate_of is None else stored.comment_of.get(str(row.duplicate_of))
        if row.outcome not in ("ticketed", "appended", "duplicate") or where not in ids:
            yield f"lost: receipt {receipt} of {fact} is {row.outcome}, comment {where} and not {ids}"


def _wrong_words(journal: Journal, stored: Stored, present: set[Fact]) -> Iterable[str]:
    """What a sender said stands in the comment; what is known of a call stands in the call's one comment."""
    for fact in present:
        words, rows = journal.words.get(fact, ""), stored.comments.get((fact.channel, fact.external_id), [])
        if fact.part and not rows:
            # Only its end or its recording puts a call on a ticket, and its caller may not have come that far.
            if any(Fact("phone", fact.external_id, part) in present for part in _OPENING):
                yield f"lost: {fact} is known and on no ticket"
        elif not any(words in row.text for row in rows):
            yield f"wrong words: {fact} should say {words!r}"


async def settle(desk: Desk, journal: Journal, *, within: float = _DRAIN_SECONDS) -> Balance:
    """Wait until everything acknowledged is stored and nothing is on its way, then hold all of it together."""
    store = open_store(desk.store_url, pool_size=1)
    try:
        return await _settle(store, desk, journal, within)
    finally:
        await store.close()


async def _look(store: Store) -> Stored:
    """What the store holds; nothing, before the first process has made its tables."""
    try:
        return await store.read(read_stored)
    except DBAPIError as error:
        if "receipts" not in str(error.orig):
            raise
        return Stored()


async def _settle(store: Store, desk: Desk, journal: Journal, within: float) -> Balance:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within
    before = -1
    while True:
        stored = await _look(store)
        balance = hold_against(journal, stored)
        # What nobody was told about may still be on its way: two looks that are equal.
        if balance.clean and len(stored.receipts) == before:
            return balance
        if loop.time() > deadline:
            return balance
        before = len(stored.receipts)
        for member in desk.members.values():
            member.check()
        await asyncio.sleep(1.0)


async def check(desk: Desk, journal: Journal, *, at_least: int) -> Balance:
    """The whole verdict. `at_least`: so many messages must have been acknowledged, or the test proved nothing."""
    balance = await settle(desk, journal)
    print(balance, dict(journal.unanswered), flush=True)
    assert balance.clean, f"{balance}\n{[line for name in desk.members for line in _tail(desk, name)]}"
    assert balance.acknowledged >= at_least, f"only {balance.acknowledged} acknowledged"
    for name, member in desk.members.items():
        if member.gate is None:
            continue
        done = await desk.command("audit", "--json", member=name)
        assert done.returncode == 0, done.stdout + done.stderr
        audit = json.loads(done.stdout)
        assert audit["balanced"], audit
        assert audit["queued"] == 0, audit
    assert not desk.tracebacks(), "\n".join(desk.tracebacks()[:3])
    return balance


def _tail(desk: Desk, name: str) -> list[str]:
    log = desk.members[name].log
    return [f"--- {name}", *log.read_text(errors="replace").splitlines()[-15:]] if log.exists() else []
