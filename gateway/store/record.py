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
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Table, bindparam, delete, func, select, update

from gateway.store import tables as t
from gateway.store.absorb import absorb
from gateway.store.engine import lock_ledger
from gateway.store.inserting import Rows, insert_all, insert_new, next_ids
from gateway.store.known import load_known
from gateway.worker.evidence import Row as EvidenceRow
from gateway.worker.matching import participants_of
from gateway.worker.plan import Comment, Item, Known, Plan, Verdict, make_plan
from normalizer.message import Attachment, Message, Original


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of one delivery, for logs and metrics."""

    receipt_id: UUID
    channel: str
    outcome: str
    ticket_id: int | None


def record(conn: Connection, items: Sequence[Item], now: datetime) -> list[Recorded]:
    """Record a batch. Deliveries already recorded are left as they are and do not appear in the result."""
    lock_ledger(conn)
    known = load_known(conn, items)
    plan = make_plan(items, known)
    return _Writing(conn, plan, known, now).run()


class _Writing:
    """One batch being written: real ids for planned things, then one insert a table."""

    def __init__(self, conn: Connection, plan: Plan, known: Known, now: datetime) -> None:
        self.conn, self.plan, self.known, self.now = conn, plan, known, now
        self.ids = next_ids(conn, _NUMBERED) if plan.verdicts else {}
        self.tickets: dict[int, int] = {}  # planned number -> real id
        self.comments: dict[UUID, int] = {}  # receipt -> comment id
        self.customers: dict[UUID, int] = {}  # receipt -> customer id

    def run(self) -> list[Recorded]:
        if not self.plan.verdicts:
            return []
        self._number_tickets()
        self._absorb_merged_tickets()
        self._write_customers()
        self._write_tickets()
        self._write_comments()
        self._write_evidence()
        self._write_stories()
        self._write_suspended()
        self._write_receipts()
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
        for absorbed in sorted({absorbed for absorbed, _ in world.merged if absorbed > 0}):
            survivor = world.find(absorbed)
            absorb(self.conn, absorbed, survivor, self.now)
            self._event(survivor, "merged", {"ticket_id": absorbed, "because": "their messages cite each other"})

    def _event(self, ticket: int | None, kind: str, detail: dict[str, Any]) -> None:
        row = {"id": self._take(t.events), "ticket_id": ticket, "kind": kind, "detail": detail, "at": self.now}
        insert_all(self.conn, t.events, [row])

    def _write_customers(self) -> None:
        """Every author is a customer: found by a proven or claimed address, or nobody known before."""
        found = self._find_identities()
        customers: Rows = []
        identities: Rows = []
        proven: Rows = []
        for comment in self.plan.comments:
            author = comment.message.author
            key = (author.kind, author.value or "") if author.identity and author.trust != "failed" else None
            if key is not None and key in found:
                self.customers[comment.message.receipt_id] = found[key]
                if author.trust == "verified":
                    proven.append({"b_kind": key[0], "b_value": key[1], "b_source": author.evidence})
                continue
            number = self._take(t.customers)
            self.customers[comment.message.receipt_id] = number
            customers.append(
                {
                    "id": number,
                    "name": author.display_name,
                    "language": comment.message.language,
                    "attributes": {},
                    "created_at": self.now,
                    "updated_at": self.now,
                }
            )
            if key is not None:
                found[key] = number
                identities.append(
                    {
                        "id": self._take(t.identities),
                        "customer_id": number,
                        "kind": key[0],
                        "value": key[1],
                        "trust": author.trust,
                        "source": author.evidence,
                        "created_at": self.now,
                    }
                )
        insert_all(self.conn, t.customers, customers)
        insert_all(self.conn, t.identities, identities)
        if proven:
            statement = (
                update(t.identities)
                .where(
                    t.identities.c.kind == bindparam("b_kind"),
                    t.identities.c.value == bindparam("b_value"),
                    t.identities.c.trust != "verified",
                )
                .values(trust="verified", source=bindparam("b_source"))
            )
            self.conn.execute(statement, proven)

    def _find_identities(self) -> dict[tuple[str, str], int]:
        values = {c.message.author.value for c in self.plan.comments if c.message.author.identity}
        if not values:
            return {}
        columns = t.identities.c
        rows = self.conn.execute(
            select(columns.kind, columns.value, columns.customer_id).where(
                columns.value.in_(sorted(value for value in values if value))
            )
        )
        return {(row.kind, row.value): row.customer_id for row in rows}

    def _write_tickets(self) -> None:
        new: Rows = []
        grown: dict[int, list[Message]] = {}
        for comment in self.plan.comments:
            message = comment.message
            planned = comment.placement.ticket
            ticket = self.tickets.get(planned, planned)
            if planned < 0 and ticket not in grown:
                new.append(self._new_ticket(ticket, message))
            grown.setdefault(ticket, []).append(message)
        insert_all(self.conn, t.tickets, new)
        started = {row["id"] for row in new}
        insert_all(
            self.conn,
            t.events,
            [
                {
                    "id": self._take(t.events),
                    "ticket_id": row["id"],
                    "kind": "created",
                    "detail": {"channel": row["channel"], "inbox": row["inbox"]},
                    "at": self.now,
                }
                for row in new
            ],
        )
        self._grow_tickets(grown, started)

    def _new_ticket(self, ticket: int, message: Message) -> dict[str, Any]:
        return {
            "id": ticket,
            "channel": message.channel,
            "inbox": message.inbox,
            "subject": message.subject or headline(message.text),
            "status": "new",
            "requester_id": self.customers[message.receipt_id],
            "language": message.language,
            "created_at": self.now,
            "updated_at": self.now,
            "comment_count": 0,
            "customer_waits_since": None,
        }

    def _grow_tickets(self, grown: Mapping[int, Sequence[Message]], started: set[int]) -> None:
        """Counters, and what a customer's words do to a ticket. A machine's words (auto-reply, bounce) do nothing."""
        columns = t.tickets.c
        counts = [{"b_id": ticket, "b_count": len(messages), "b_now": self.now} for ticket, messages in grown.items()]
        if counts:
            self.conn.execute(
                update(t.tickets)
                .where(columns.id == bindparam("b_id"))
                .values(comment_count=columns.comment_count + bindparam("b_count"), updated_at=bindparam("b_now")),
                counts,
            )
        said = {
            ticket: min(message.received_at for message in spoken)
            for ticket, messages in grown.items()
            if (spoken := [message for message in messages if not message.automated])
        }
        waits = [{"b_id": ticket, "b_at": at} for ticket, at in said.items()]
        if waits:
            self.conn.execute(
                update(t.tickets)
                .where(columns.id == bindparam("b_id"), columns.customer_waits_since.is_(None))
                .values(customer_waits_since=bindparam("b_at", type_=t.Instant)),
                waits,
            )
        existing = [ticket for ticket in said if ticket not in started]
        if existing:
            asleep = list(
                self.conn.scalars(
                    select(columns.id).where(
                        columns.id.in_(existing), columns.status.in_(("pending", "hold", "solved"))
                    )
                )
            )
            for ticket in asleep:
                self.conn.execute(update(t.tickets).where(columns.id == ticket).values(status="open"))
                self._event(ticket, "reopened", {"because": "the customer wrote again"})

    def _write_comments(self) -> None:
        files: Rows = []
        rows: Rows = []
        for comment in self.plan.comments:
            number = self._take(t.comments)
            self.comments[comment.message.receipt_id] = number
            rows.append(self._comment_row(number, comment))
            files.extend(self._file_rows(comment.message.attachments, comment_id=number))
        insert_all(self.conn, t.comments, rows)
        insert_all(self.conn, t.attachments, files)
        insert_new(
            self.conn,
            t.folded,
            [
                {"about": comment.about, "comment_id": self.comments[comment.message.receipt_id]}
                for comment in self.plan.comments
                if comment.about
            ],
        )

    def _comment_row(self, number: int, comment: Comment) -> dict[str, Any]:
        message, placement = comment.message, comment.placement
        author = message.author
        verdict = "repeat" if placement.repeat else "id_reused" if placement.id_reused else "new"
        return {
            "id": number,
            "ticket_id": self._ticket(placement.ticket),
            "receipt_id": message.receipt_id,
            "author_id": self.customers[message.receipt_id],
            "channel": message.channel,
            "inbox": message.inbox,
            "external_id": message.external_id,
            "author_name": author.display_name,
            "author_kind": author.kind,
            "author_value": author.value or "",
            "author_trust": author.trust,
            "author_evidence": author.evidence,
            "subject": message.subject,
            "text": message.text,
            "full_text": message.full_text,
            "html": message.html,
            "language": message.language,
            "public": True,
            "verdict": verdict,
            "matched_by": placement.rule,
            "explanation": self._explanation(comment),
            "automated": _dump(message.automated),
            "problems": _dump(message.problems),
            "fields": message.fields,
            "recipients": _dump(message.recipients),
            "sent_at": message.sent_at,
            "received_at": message.received_at,
            "created_at": self.now,
            **_original_row(message.original),
        }

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
        return [blank | owner | {"id": self._take(t.attachments)} | _attachment_row(file) for file in files]

    def _write_evidence(self) -> None:
        keys: Rows = [
            {"id": self._take(t.thread_keys), "comment_id": None, **_evidence_row(row, row.ticket)}
            for row in self.known.cited_tickets
        ]
        people: dict[tuple[int, str], None] = {}
        links: Rows = []
        for comment in self.plan.comments:
            ticket = self.tickets.get(comment.placement.ticket, comment.placement.ticket)
            people.update(dict.fromkeys((ticket, person) for person in sorted(participants_of(comment.message))))
            number = self.comments[comment.message.receipt_id]
            keys.extend(
                {"id": self._take(t.thread_keys), "comment_id": number, **_evidence_row(row, ticket)}
                for row in comment.placement.rows
            )
            links.extend(self._links(ticket, comment))
        insert_all(self.conn, t.thread_keys, keys)
        insert_new(
            self.conn,
            t.participants,
            [{"id": self._take(t.participants), "ticket_id": ticket, "identity": person} for ticket, person in people],
        )
        insert_new(self.conn, t.ticket_links, links)

    def _links(self, ticket: int, comment: Comment) -> Rows:
        kind = "possibly_belongs_to" if comment.message.author.trust == "failed" else "related"
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

    def _write_stories(self) -> None:
        """Facts of things reported in pieces, and comments that tell a changed story."""
        insert_all(
            self.conn,
            t.update_facts,
            [
                {
                    "id": self._take(t.update_facts),
                    "about": item.about,
                    "receipt_id": item.receipt_id,
                    "kind": item.kind,
                    "opens": item.opens,
                    "facts": item.facts,
                    "author": _dump_one(item.author),
                    "attachments": _dump(item.attachments),
                    "channel": item.channel,
                    "inbox": item.inbox,
                    "received_at": item.received_at,
                }
                for item in self.plan.updates
            ],
        )
        for retelling in self.plan.retellings:
            self._retell(retelling.comment, retelling.message)

    def _retell(self, comment: int, message: Message) -> None:
        author = message.author
        columns = t.comments.c
        self.conn.execute(
            update(t.comments)
            .where(columns.id == comment)
            .values(
                subject=message.subject,
                text=message.text,
                fields=message.fields,
                sent_at=message.sent_at,
                author_name=author.display_name,
                author_kind=author.kind,
                author_value=author.value or "",
                author_trust=author.trust,
                author_evidence=author.evidence,
            )
        )
        self.conn.execute(delete(t.attachments).where(t.attachments.c.comment_id == comment))
        insert_all(self.conn, t.attachments, self._file_rows(message.attachments, comment_id=comment))
        row = self.conn.execute(select(columns.ticket_id, columns.author_id).where(columns.id == comment)).one()
        ticket = row.ticket_id
        customer = self._customer_of_story(row.author_id, message)
        self.conn.execute(update(t.comments).where(columns.id == comment).values(author_id=customer))
        first = select(func.min(columns.id)).where(columns.ticket_id == ticket).scalar_subquery()
        if self.conn.scalar(select(first)) == comment:
            self.conn.execute(
                update(t.tickets)
                .where(t.tickets.c.id == ticket)
                .values(subject=message.subject, requester_id=customer, updated_at=self.now)
            )
        insert_new(
            self.conn,
            t.participants,
            [
                {"id": self._take(t.participants), "ticket_id": ticket, "identity": person}
                for person in sorted(participants_of(message))
            ],
        )
        for verdict in self.plan.verdicts:
            if verdict.comment == comment and verdict.ticket is None:
                verdict.ticket = ticket

    def _customer_of_story(self, current: int, message: Message) -> int:
        """Who called, when a later fact says it first; the nobody made before keeps its place if nothing is known."""
        author = message.author
        if not author.identity:
            return current
        columns = t.identities.c
        known = self.conn.scalar(
            select(columns.customer_id).where(columns.kind == author.kind, columns.value == author.value)
        )
        if known is not None:
            return int(known)
        insert_all(
            self.conn,
            t.identities,
            [
                {
                    "id": self._take(t.identities),
                    "customer_id": current,
                    "kind": author.kind,
                    "value": author.value,
                    "trust": author.trust,
                    "source": author.evidence,
                    "created_at": self.now,
                }
            ],
        )
        if author.display_name:
            self.conn.execute(update(t.customers).where(t.customers.c.id == current).values(name=author.display_name))
        return current

    def _write_suspended(self) -> None:
        rows: Rows = []
        files: Rows = []
        for message in self.plan.suspended:
            number = self._take(t.suspended)
            rows.append(
                {
                    "id": number,
                    "receipt_id": message.receipt_id,
                    "channel": message.channel,
                    "inbox": message.inbox,
                    "cause": message.suspend,
                    "author": message.author.value or "",
                    "subject": message.subject,
                    "message": message.model_dump(
                        mode="json", exclude={"original": {"content"}, "attachments": {"__all__": {"content"}}}
                    ),
                    "received_at": message.received_at,
                    **_original_row(message.original),
                }
            )
            files.extend(self._file_rows(message.attachments, suspended_id=number))
        insert_all(self.conn, t.suspended, rows)
        insert_all(self.conn, t.attachments, files)

    def _write_receipts(self) -> None:
        receipts = [self._receipt_row(verdict) for verdict in self.plan.verdicts]
        ids = [row["receipt_id"] for row in receipts]
        if revived := list(self.conn.scalars(select(t.receipts.c.receipt_id).where(t.receipts.c.receipt_id.in_(ids)))):
            self.conn.execute(delete(t.receipts).where(t.receipts.c.receipt_id.in_(revived)))  # replayed dead letters
            self.conn.execute(
                update(t.dead_letters).where(t.dead_letters.c.receipt_id.in_(revived)).values(replayed_at=self.now)
            )
        insert_all(self.conn, t.receipts, receipts)
        insert_all(
            self.conn,
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
        item = verdict.item
        comment = self.comments.get(item.receipt_id, verdict.comment)
        ticket = self._ticket(verdict.ticket)
        if verdict.duplicate_of is not None and comment is None:
            comment = self.comments.get(verdict.duplicate_of)
        return {
            "receipt_id": item.receipt_id,
            "gateway": item.gateway,
            "sequence": item.sequence,
            "channel": item.channel,
            "inbox": item.inbox,
            "external_id": item.external_id,
            "outcome": verdict.outcome,
            "reason": verdict.reason,
            "ticket_id": ticket,
            "comment_id": comment,
            "duplicate_of": verdict.duplicate_of,
            "received_at": item.received_at,
            "recorded_at": self.now,
        }


_HEADLINE = 80
_NUMBERED = (
    t.customers,
    t.identities,
    t.tickets,
    t.ticket_links,
    t.comments,
    t.attachments,
    t.thread_keys,
    t.participants,
    t.update_facts,
    t.suspended,
    t.events,
)


def headline(text: str) -> str:
    """A subject for what came without one (a post, a chat): its first line, cut at a word past 80 characters."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    if len(line) <= _HEADLINE:
        return line
    return f"{line[:_HEADLINE].rpartition(' ')[0] or line[:_HEADLINE]} …"


def _evidence_row(row: EvidenceRow, ticket: int) -> dict[str, Any]:
    return {
        "key": row.key,
        "role": row.role,
        "author": row.author,
        "ticket_id": ticket,
        "channel": row.channel,
        "at": row.at,
    }


def _dump(items: Iterable[Any]) -> list[Any]:
    return [item.model_dump(mode="json", exclude={"content"}) for item in items]


def _dump_one(item: Any) -> Any:
    return item.model_dump(mode="json") if item is not None else None


def _attachment_row(file: Attachment) -> dict[str, Any]:
    return {
        "filename": file.filename,
        "content_type": file.content_type,
        "sniffed_type": file.sniffed_type,
        "content_id": file.content_id,
        "inline": file.inline,
        "source_url": file.source_url,
        "size": file.size,
        "sha256": file.sha256,
        "content": file.content,
        "blob": file.blob,
    }


def _original_row(original: Original | None) -> dict[str, Any]:
    if original is None:
        return {"original_type": "", "original": None, "original_blob": None}
    return {"original_type": original.content_type, "original": original.content, "original_blob": original.blob}
