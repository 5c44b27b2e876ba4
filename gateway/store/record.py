"""The transaction (DESIGN 3): a batch of deliveries becomes receipts, comments and tickets, all of it or nothing.

load what is known -> plan in pure code -> write, under the ledger lock. The queue is acknowledged after the commit and
never before, so a batch that dies anywhere in here comes again and finds its receipts missing; a batch that died after
the commit comes again and finds them present. Set-based throughout: the number of statements does not grow with the
batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Column, ColumnElement, Connection, Integer, Table, Update, case, delete, func, update

from gateway.store import tables as t
from gateway.store.claims import join_proven
from gateway.store.corrections import merge_by_evidence
from gateway.store.engine import lock_ledger
from gateway.store.known import Loaded, load_known
from gateway.store.moving import ASLEEP
from gateway.store.people import Ours, meet, name_ours
from gateway.store.releasing import release, settle
from gateway.store.rows import (
    attachment_row,
    changed_at,
    comment_row,
    evidence_row,
    headline,
    is_history,
    opened_at,
    receipt_row,
    suspended_row,
    update_row,
    waits_since,
)
from gateway.store.stories import Named, Told, ask_told, retell
from gateway.store.values import one_of
from gateway.store.writing import Change, Rows, Writes
from gateway.worker.clues import read_clues
from gateway.worker.evidence import Rules
from gateway.worker.plan import Comment, Item, Plan, Verdict, make_plan
from normalizer.message import Attachment, Message


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of one delivery, for logs and metrics."""

    receipt_id: UUID
    channel: str
    outcome: str
    ticket_id: int | None


def record(
    conn: Connection, items: Sequence[Item], now: datetime, rules: Rules | None = None, ours: Ours | None = None
) -> list[Recorded]:
    """Record a batch. Deliveries already recorded are left as they are and do not appear in the result.

    `ours`: the desk's own addresses, which are nobody's.
    """
    items = [name_ours(item, ours) if ours and isinstance(item, Message) else item for item in items]
    clues = [read_clues(item) for item in items if isinstance(item, Message) and not item.suspend]
    lock_ledger(conn)
    items, released = release(conn, items, now)
    loaded = load_known(conn, items, clues, rules)
    plan = make_plan(items, loaded.known)
    recorded = _Writing(conn, plan, loaded, now, ours).run()
    settle(conn, released, {one.receipt_id: (one.outcome, one.ticket_id) for one in recorded}, now)
    return recorded


class _Writing:
    """One batch being written: real ids for planned things, then all writes together."""

    def __init__(self, conn: Connection, plan: Plan, loaded: Loaded, now: datetime, ours: Ours | None) -> None:
        self.conn, self.plan, self.now, self.ours = conn, plan, now, ours
        self.known, self.holders, self.ids = loaded.known, loaded.holders, loaded.ids
        self.waiting, self.told = loaded.waiting, loaded.told
        self.writes = Writes(conn)
        self.tickets: dict[int, int] = {}  # planned number -> real id
        self.comments: dict[UUID, int] = {}  # receipt -> comment id
        self.customers: dict[UUID, int | None] = {}  # receipt -> customer id

    def run(self) -> list[Recorded]:
        if not self.plan.verdicts:
            return []
        self._number_tickets()
        self._absorb_merged_tickets()
        said = [comment.message for comment in self.plan.comments]
        # Every author is a customer, or nobody (a withheld number, a failed authentication, an address of ours).
        self.customers = meet(self.writes, self.holders, said, self.now, self._take, self.ours)
        told = self._write_stories()
        self._write_tickets(told)
        self._write_comments()
        self._write_evidence()
        self._write_suspended()
        self._write_receipts()
        self.writes.write()
        join_proven(self.conn, said, self.customers, self.waiting, self.now, self._take, self.ours)
        return [
            Recorded(verdict.item.receipt_id, verdict.item.channel, verdict.outcome, self._ticket(verdict.ticket))
            for verdict in self.plan.verdicts
        ]

    def _take(self, table: Table) -> int:
        number = self.ids[table.name]
        self.ids[table.name] = number + 1
        return number

    def _ticket(self, planned: int | None) -> int | None:
        return self.tickets.get(planned, planned) if planned is not None else None

    def _number_tickets(self) -> None:
        for comment in self.plan.comments:
            planned = comment.placement.ticket
            if planned < 0 and planned not in self.tickets:
                self.tickets[planned] = self._take(t.tickets)

    def _absorb_merged_tickets(self) -> None:
        """Tickets of the database that turned out to be one: everything of the younger moves to the older."""
        world = self.known.world
        absorbed = {step.absorbed: step for step in world.merged if step.absorbed > 0}
        merge_by_evidence(
            self.conn,
            [(number, world.find(number), step.rule, step.evidence) for number, step in sorted(absorbed.items())],
            self._take,
            self.now,
        )

    def _write_events(self, events: Iterable[tuple[int, str, dict[str, Any]]]) -> None:
        rows = [
            {"id": self._take(t.events), "ticket_id": ticket, "kind": kind, "detail": detail, "at": self.now}
            for ticket, kind, detail in events
        ]
        self.writes.add(t.events, rows)

    def _write_stories(self) -> Told:
        """Facts of things reported in pieces, and the comments that they change."""
        facts = [{"id": self._take(t.update_facts), **update_row(item)} for item in self.plan.updates]
        self.writes.add(t.update_facts, facts)
        retellings, stand = self.plan.retellings, self.told
        if retellings and any(step.absorbed > 0 for step in self.known.world.merged):
            stand = ask_told(self.conn, [item.about for item in retellings])  # a joint ticket has another first comment
        told = retell(self.conn, self.writes, self.holders, self._take, retellings, stand, self.now)
        for verdict in self.plan.verdicts:
            if verdict.ticket is None and verdict.comment is not None:
                verdict.ticket = told.tickets.get(verdict.comment)
        return told

    def _write_tickets(self, told: Told) -> None:
        grown: dict[int, list[Message]] = {}
        for comment in self.plan.comments:
            grown.setdefault(comment.placement.ticket, []).append(comment.message)
        new = [self._new_ticket(self.tickets[ticket], said) for ticket, said in grown.items() if ticket < 0]
        self.writes.add(t.tickets, new)
        self._write_events((row["id"], "created", {"channel": row["channel"], "inbox": row["inbox"]}) for row in new)
        self._change_tickets({ticket: said for ticket, said in grown.items() if ticket > 0}, told.renamed)

    def _new_ticket(self, ticket: int, messages: Sequence[Message]) -> dict[str, Any]:
        first = messages[0]
        return {
            "id": ticket,
            "channel": first.channel,
            "inbox": first.inbox,
            "subject": first.subject or headline(first.text),
            "status": "solved" if all(map(is_history, messages)) else "new",
            "requester_id": self.customers[first.receipt_id],
            "language": first.language,
            "created_at": opened_at(messages, self.now),
            "updated_at": changed_at(messages, self.now),
            "comment_count": len(messages),
            "customer_waits_since": waits_since(messages),
        }

    def _change_tickets(self, grown: Mapping[int, Sequence[Message]], renamed: Mapping[int, Named]) -> None:
        """Counters, and what a customer's words do to a ticket. A machine's words (auto-reply, bounce) do nothing."""
        tickets = dict.fromkeys((*grown, *renamed))
        changed = [self._ticket_change(ticket, grown.get(ticket, ()), renamed.get(ticket)) for ticket in tickets]
        self.writes.change(GROWING, changed)
        group = self.known.world.group
        asleep = [ticket for ticket, said in grown.items() if waits_since(said) is not None and group(ticket).asleep]
        woken = sorted(self.conn.scalars(_WAKE, {"tickets": asleep})) if asleep else []
        self._write_events((ticket, "reopened", {"because": "the customer wrote again"}) for ticket in woken)

    def _ticket_change(self, ticket: int, said: Sequence[Message], name: Named | None) -> dict[str, Any]:
        return {
            "id": ticket,
            "count": len(said),
            "waits": waits_since(said),
            "first": opened_at(said, self.now),
            "last": self.now if name else changed_at(said, self.now),
            "subject": name.subject if name else None,
            "requester_id": name.requester_id if name else None,
        }

    def _write_comments(self) -> None:
        files: Rows = []
        rows: Rows = []
        for comment in self.plan.comments:
            number = self._take(t.comments)
            self.comments[comment.message.receipt_id] = number
            rows.append(
                {
                    "id": number,
                    "ticket_id": self._ticket(comment.placement.ticket),
                    "author_id": self.customers[comment.message.receipt_id],
                    "explanation": self._explanation(comment),
                    "created_at": self.now,
                    **comment_row(comment.message, comment.placement),
                }
            )
            files.extend(self._file_rows(comment.message.attachments, comment_id=number))
        self.writes.add(t.comments, rows)
        self.writes.add(t.attachments, files)
        self.writes.add(
            t.folded,
            [
                {"about": comment.about, "comment_id": self.comments[comment.message.receipt_id]}
                for comment in self.plan.comments
                if comment.about
            ],
            doubtful=True,
        )

    def _explanation(self, comment: Comment) -> dict[str, Any]:
        placement = comment.placement
        world = self.known.world
        rejected = [
            {
                "ticket_id": self._ticket(world.find(item.ticket)),
                "rule": item.rule,
                "evidence": item.evidence,
                "reason": item.reason,
            }
            for item in placement.rejected
            if world.find(item.ticket) != placement.ticket
        ]
        return {"rule": placement.rule, "evidence": placement.evidence, "rejected": rejected}

    def _file_rows(self, files: Iterable[Attachment], **owner: int) -> Rows:
        blank = {"comment_id": None, "suspended_id": None}
        return [blank | owner | {"id": self._take(t.attachments)} | attachment_row(file) for file in files]

    def _write_evidence(self) -> None:
        keys: Rows = [
            {
                "id": self._take(t.thread_keys),
                "comment_id": None,
                **evidence_row(row, self.known.world.find(row.ticket)),
            }
            for row in self.known.cited_tickets
        ]
        people: dict[tuple[int, str], None] = {}
        links: Rows = []
        for comment in self.plan.comments:
            ticket = self.tickets.get(comment.placement.ticket, comment.placement.ticket)
            people.update(dict.fromkeys((ticket, person) for person in sorted(comment.people)))
            number = self.comments[comment.message.receipt_id]
            keys.extend(
                {"id": self._take(t.thread_keys), "comment_id": number, **evidence_row(row, ticket)}
                for row in comment.placement.rows
            )
            links.extend(self._links(ticket, comment))
        self.writes.add(t.thread_keys, keys)
        taking_part: Rows = [
            {"id": self._take(t.participants), "ticket_id": ticket, "identity": person} for ticket, person in people
        ]
        self.writes.add(t.participants, taking_part, doubtful=True)
        self.writes.add(t.ticket_links, links, doubtful=True)

    def _links(self, ticket: int, comment: Comment) -> Rows:
        kind = "possibly_belongs_to" if comment.placement.rule == "none" else "related"
        world = self.known.world
        others = {self._ticket(world.find(item.ticket)): (kind, item.reason) for item in comment.placement.rejected}
        if comment.placement.follows_up is not None:
            others[comment.placement.follows_up] = ("follow_up", "the earlier ticket is closed")
        return [
            {
                "id": self._take(t.ticket_links),
                "ticket_id": ticket,
                "other_id": other,
                "kind": kind,
                "reason": reason,
                "created_at": self.now,
            }
            for other, (kind, reason) in others.items()
            if other is not None and other != ticket
        ]

    def _write_suspended(self) -> None:
        rows: Rows = []
        files: Rows = []
        for message in self.plan.suspended:
            number = self._take(t.suspended)
            rows.append({"id": number, **suspended_row(message)})
            files.extend(self._file_rows(message.attachments, suspended_id=number))
        self.writes.add(t.suspended, rows)
        self.writes.add(t.attachments, files)

    def _write_receipts(self) -> None:
        receipts = [self._receipt_row(verdict) for verdict in self.plan.verdicts]
        ids = {row["receipt_id"] for row in receipts}
        if revived := [receipt for receipt in self.known.dead if receipt in ids]:  # replayed dead letters
            self.conn.execute(delete(t.receipts).where(one_of(t.receipts.c.receipt_id, revived)))
            again = update(t.dead_letters).where(one_of(t.dead_letters.c.receipt_id, revived))
            self.conn.execute(again.values(replayed_at=self.now))
        self.writes.add(t.receipts, receipts)
        self.writes.add(
            t.delivery_keys,
            [
                {
                    "key": verdict.item.delivery_key,
                    "receipt_id": verdict.item.receipt_id,
                    "inbox": verdict.item.inbox,
                    "created_at": self.now,
                }
                for verdict in self.plan.verdicts
                if verdict.outcome != "duplicate"
            ],
        )

    def _receipt_row(self, verdict: Verdict) -> dict[str, Any]:
        comment = self.comments.get(verdict.item.receipt_id, verdict.comment)
        if comment is None and verdict.duplicate_of is not None:
            comment = self.comments.get(verdict.duplicate_of)
        return {
            **receipt_row(verdict, self.now),
            "ticket_id": self._ticket(verdict.ticket),
            "comment_id": comment,
        }


_T: Final = t.tickets.c


def _grow(given: Mapping[str, ColumnElement[Any]]) -> Update:
    """A ticket is called after its first comment and belongs to whoever wrote that; no subject: neither has changed."""
    first, last, subject, waits = given["first"], given["last"], given["subject"], given["waits"]
    earlier = _T.customer_waits_since.is_(None) | (_T.customer_waits_since > waits)  # it may have come late
    return (
        update(t.tickets)
        .where(_T.id == given["id"])
        .values(
            comment_count=_T.comment_count + given["count"],
            customer_waits_since=case((waits.is_not(None) & earlier, waits), else_=_T.customer_waits_since),
            created_at=case((_T.created_at > first, first), else_=_T.created_at),
            updated_at=case((_T.updated_at < last, last), else_=_T.updated_at),
            subject=func.coalesce(subject, _T.subject),
            requester_id=case((subject.is_(None), _T.requester_id), else_=given["requester_id"]),
        )
    )


_MOMENTS: Final = [Column(name, t.Instant) for name in ("waits", "first", "last")]
_GROWN: Final[tuple[Column[Any], ...]] = (
    Column("id", t.Id),
    Column("count", Integer),
    *_MOMENTS,
    _T.subject,
    _T.requester_id,
)
GROWING: Final = Change(_T.id, _GROWN, _grow)
_WAKE: Final = (
    update(t.tickets).where(one_of(_T.id, "tickets"), _T.status.in_(ASLEEP)).values(status="open").returning(_T.id)
)
