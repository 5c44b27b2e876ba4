"""The schema, once, for SQLite and PostgreSQL (SQLAlchemy Core). Migrations in `migrations/` are checked against it.

Times are UTC. Ids that people see are integers, as Zendesk's clients expect; they are handed out under the ledger lock
(`record.py`), so a batch knows its ids before it writes and every insert is one statement for all rows.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeDecorator

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class Instant(TypeDecorator[datetime]):
    """A moment in UTC. SQLite keeps no zone, so it is put back on the way out; a naive value is refused."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a moment without a time zone")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None or value.tzinfo is not None:
            return value.astimezone(UTC) if value else None
        return value.replace(tzinfo=UTC)


class Body(Text):
    """A text that may be long: a customer's words, html. It travels by itself (`writing`), not inside a document."""


Id = BigInteger().with_variant(Integer, "sqlite")  # SQLite numbers rows by itself only in INTEGER keys
Document = JSON().with_variant(JSONB(), "postgresql")


def _id() -> Column[int]:
    return Column("id", Id, primary_key=True, autoincrement=False)


def _ref(name: str, target: str, *, nullable: bool = False, index: bool = False) -> Column[Any]:
    return Column(name, Id, ForeignKey(target), nullable=nullable, index=index)


customers = Table(
    "customers",
    metadata,
    _id(),
    Column("name", Text, nullable=False, default=""),
    Column("language", String(35), nullable=False, default=""),
    Column("attributes", Document, nullable=False, default=dict),
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
    # Added by 0002, where SQLite can add no foreign key: the customer this one turned out to be.
    Column("merged_into", Id, nullable=True),
    Column("external_id", Text, nullable=True),  # the company's own number for this person
    Index(None, "external_id", unique=True),
    Index(
        None,
        "merged_into",
        sqlite_where=text("merged_into IS NOT NULL"),
        postgresql_where=text("merged_into IS NOT NULL"),
    ),
)

identities = Table(
    "identities",
    metadata,
    _id(),
    _ref("customer_id", "customers.id", index=True),
    Column("kind", String(16), nullable=False),
    Column("value", Text, nullable=False),
    Column("trust", String(16), nullable=False),
    Column("source", Text, nullable=False, default=""),
    Column("created_at", Instant, nullable=False),
    UniqueConstraint("value", "kind"),
)

tickets = Table(
    "tickets",
    metadata,
    _id(),
    Column("channel", String(16), nullable=False),
    Column("inbox", Text, nullable=False),
    Column("subject", Text, nullable=False, default=""),
    Column("status", String(16), nullable=False, default="new"),  # new open pending hold solved closed
    _ref("requester_id", "customers.id", nullable=True, index=True),
    Column("language", String(35), nullable=False, default=""),
    Column("merged_into", Id, ForeignKey("tickets.id"), nullable=True),
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
    Column(
        "customer_waits_since", Instant, nullable=True
    ),  # first customer comment nobody has answered; null: answered
    Column("comment_count", Integer, nullable=False, default=0),
    Index(None, "status", "id"),
    Index(None, "channel", "id"),
    Index(None, "customer_waits_since"),
    Index(None, "updated_at", "id"),
    # Partial: planners would otherwise pick it for `IS NULL`, which is nearly every ticket.
    Index(
        None,
        "merged_into",
        sqlite_where=text("merged_into IS NOT NULL"),
        postgresql_where=text("merged_into IS NOT NULL"),
    ),
)

ticket_links = Table(
    "ticket_links",
    metadata,
    _id(),
    _ref("ticket_id", "tickets.id", index=True),
    _ref("other_id", "tickets.id", index=True),
    Column("kind", String(24), nullable=False),  # related, possibly_belongs_to, follow_up, merged, apart
    Column("reason", Text, nullable=False, default=""),
    Column("created_at", Instant, nullable=False),
    UniqueConstraint("ticket_id", "other_id", "kind"),
)

comments = Table(
    "comments",
    metadata,
    _id(),
    _ref("ticket_id", "tickets.id"),
    Column("receipt_id", Uuid, nullable=False, unique=True),  # the delivery that made it
    _ref("author_id", "customers.id", nullable=True),
    Column("channel", String(16), nullable=False),
    Column("inbox", Text, nullable=False),
    Column("external_id", Text, nullable=False, default=""),
    Column("author_name", Text, nullable=False, default=""),
    Column("author_kind", String(16), nullable=False, default=""),
    Column("author_value", Text, nullable=False, default=""),
    Column("author_trust", String(16), nullable=False, default="unverified"),
    Column("author_evidence", Text, nullable=False, default=""),
    Column("subject", Text, nullable=False, default=""),
    Column("text", Body, nullable=False, default=""),
    Column("full_text", Body, nullable=False, default=""),
    Column("html", Body, nullable=False, default=""),
    Column("language", String(35), nullable=False, default=""),
    Column("public", Boolean, nullable=False, default=True),
    Column("verdict", String(24), nullable=False, default="new"),  # new, repeat, near_repeat, id_reused
    Column("matched_by", String(24), nullable=False, default="none"),  # the rule that put it on this ticket
    Column("explanation", Document, nullable=False, default=dict),  # rule, evidence, rejected candidates
    Column("automated", Document, nullable=False, default=list),
    Column("problems", Document, nullable=False, default=list),
    Column("fields", Document, nullable=False, default=dict),
    Column("recipients", Document, nullable=False, default=list),
    Column("repeat_of", Id, ForeignKey("comments.id"), nullable=True),
    Column("original_type", Text, nullable=False, default=""),
    Column("original", LargeBinary, nullable=True),
    Column("original_blob", String(64), nullable=True),
    Column("sent_at", Instant, nullable=True),
    Column("received_at", Instant, nullable=False),
    Column("created_at", Instant, nullable=False),
    Index(None, "ticket_id", "id"),
    Index(None, "author_id", "received_at"),
)

attachments = Table(
    "attachments",
    metadata,
    _id(),
    _ref("comment_id", "comments.id", nullable=True, index=True),
    Column("suspended_id", Id, ForeignKey("suspended.id"), nullable=True, index=True),
    Column("filename", Text, nullable=False, default=""),
    Column("content_type", Text, nullable=False, default=""),
    Column("sniffed_type", Text, nullable=False, default=""),
    Column("content_id", Text, nullable=False, default=""),
    Column("inline", Boolean, nullable=False, default=False),
    Column("source_url", Text, nullable=False, default=""),
    Column("size", Id, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("content", LargeBinary, nullable=True),  # small files; larger ones are in the blob store under `blob`
    Column("blob", String(64), nullable=True),
)

receipts = Table(
    "receipts",
    metadata,
    Column("receipt_id", Uuid, primary_key=True),
    Column("gateway", String(64), nullable=False),
    Column("sequence", Id, nullable=False),
    Column("channel", String(16), nullable=False),
    Column("inbox", Text, nullable=False),
    Column("external_id", Text, nullable=False, default=""),
    Column("outcome", String(16), nullable=False),  # ticketed appended duplicate updated suspended dead ignored
    Column("reason", Text, nullable=False, default=""),
    Column("ticket_id", Id, nullable=True, index=True),
    Column("comment_id", Id, nullable=True),
    Column("duplicate_of", Uuid, nullable=True),
    Column("received_at", Instant, nullable=False),
    Column("recorded_at", Instant, nullable=False),
    Index(None, "gateway", "sequence"),
    Index(None, "outcome", "channel"),
)

delivery_keys = Table(
    "delivery_keys",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("receipt_id", Uuid, nullable=False),
    Column("inbox", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
)

# One row for each piece of evidence a comment brings. `ticket_id` follows merges, so a lookup never chases redirects.
thread_keys = Table(
    "thread_keys",
    metadata,
    _id(),
    Column("key", String(255), nullable=False),
    Column("role", String(12), nullable=False),  # own, ref, conversation, content
    Column("author", Text, nullable=False, default=""),  # identity `kind:value`, empty: nobody
    _ref("ticket_id", "tickets.id", index=True),
    Column("comment_id", Id, ForeignKey("comments.id"), nullable=True),
    Column("channel", String(16), nullable=False, default=""),
    Column("at", Instant, nullable=False),
    Index(None, "key", "role", "author"),
)

participants = Table(
    "participants",
    metadata,
    _id(),
    _ref("ticket_id", "tickets.id"),
    Column("identity", Text, nullable=False),
    UniqueConstraint("ticket_id", "identity"),
    Index(None, "identity"),
)

# What is known of each thing that is reported in pieces (a call): every fact, folded into one comment.
update_facts = Table(
    "update_facts",
    metadata,
    _id(),
    Column("about", String(255), nullable=False, index=True),
    Column("receipt_id", Uuid, nullable=False, unique=True),
    Column("kind", String(16), nullable=False),
    Column("opens", Boolean, nullable=False, default=False),
    Column("facts", Document, nullable=False, default=dict),
    Column("author", Document, nullable=True),
    Column("attachments", Document, nullable=False, default=list),
    Column("channel", String(16), nullable=False),
    Column("inbox", Text, nullable=False),
    Column("received_at", Instant, nullable=False, index=True),
)

folded = Table(
    "folded",
    metadata,
    Column("about", String(255), primary_key=True),
    _ref("comment_id", "comments.id"),
)

suspended = Table(
    "suspended",
    metadata,
    _id(),
    Column("receipt_id", Uuid, nullable=False, unique=True),
    Column("channel", String(16), nullable=False),
    Column("inbox", Text, nullable=False),
    Column("cause", Text, nullable=False),
    Column("author", Text, nullable=False, default=""),
    Column("subject", Text, nullable=False, default=""),
    Column("message", Document, nullable=False),  # the whole wire message, so that it can be recovered or read again
    Column("original_type", Text, nullable=False, default=""),
    Column("original", LargeBinary, nullable=True),
    Column("original_blob", String(64), nullable=True),
    Column("received_at", Instant, nullable=False),
    # Added by 0003. What became of it; null: it waits. A recovered one is on a ticket, a rejected one is set aside.
    Column("decision", String(12), nullable=True),  # recovered, rejected
    Column("decided_by", Text, nullable=True),
    Column("decided_at", Instant, nullable=True),
    Column("replayed_by", Text, nullable=True),  # who had it read again last
    Column("replayed_at", Instant, nullable=True),
    Index(None, "id", sqlite_where=text("decision IS NULL"), postgresql_where=text("decision IS NULL")),
)

dead_letters = Table(
    "dead_letters",
    metadata,
    _id(),
    Column("receipt_id", Uuid, nullable=False, unique=True),
    Column("channel", String(16), nullable=False),
    Column("inbox", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("reason", Text, nullable=False),
    Column("attempts", Integer, nullable=False, default=0),
    Column("died_at", Instant, nullable=False),
    Column("replayed_at", Instant, nullable=True),
)

events = Table(
    "events",
    metadata,
    _id(),
    _ref("ticket_id", "tickets.id", nullable=True, index=True),
    # created, reopened, merged, linked, updated, dropped; corrections: split, moved, merged, related, joined,
    # undone; suggested; of suspended messages: recovered, replayed, rejected
    Column("kind", String(24), nullable=False),
    Column("detail", Document, nullable=False, default=dict),
    Column("at", Instant, nullable=False),
)

# What people (or proofs) changed in what was decided before, with everything that takes it back. The id is its event's.
corrections = Table(
    "corrections",
    metadata,
    Column("id", Id, ForeignKey("events.id"), primary_key=True, autoincrement=False),
    Column("kind", String(24), nullable=False),  # split, moved, merged, related, joined
    Column("actor", Text, nullable=False),
    Column("changes", Document, nullable=False, default=dict),
    Column("at", Instant, nullable=False),
    Column("undone_at", Instant, nullable=True),
    Column("undone_by", Text, nullable=False, default=""),
)

# What a correction touched (`ticket:7`, `comment:12`, `customer:3`): corrections of one thing are undone last to first.
correction_subjects = Table(
    "correction_subjects",
    metadata,
    Column("subject", String(64), primary_key=True),
    Column("correction_id", Id, ForeignKey("corrections.id"), primary_key=True, index=True),
)

# Somebody who is known by one identity says another one is theirs too: proof joins, coincidence waits for a person.
claims = Table(
    "claims",
    metadata,
    _id(),
    Column("author", Text, nullable=False),  # identity `kind:value`
    Column("claimed", Text, nullable=False, index=True),  # identity `kind:value`
    Column("proven", Boolean, nullable=False, default=False),
    Column("reason", Text, nullable=False, default=""),
    _ref("ticket_id", "tickets.id", nullable=True),
    Column("state", String(12), nullable=False, default="open"),  # open, joined, declined
    Column("decided_by", Text, nullable=False, default=""),
    Column("decided_at", Instant, nullable=True),
    Column("created_at", Instant, nullable=False),
    UniqueConstraint("author", "claimed"),
)

outbox = Table(
    "outbox",
    metadata,
    _id(),
    Column("reply_id", Uuid, nullable=False, unique=True),
    _ref("ticket_id", "tickets.id", index=True),
    _ref("comment_id", "comments.id", nullable=True),
    Column("channel", String(16), nullable=False),
    Column("inbox", Text, nullable=False),
    Column("payload", Document, nullable=False),
    Column("state", String(16), nullable=False),  # queued, sending, sent, failed, unknown
    Column("attempts", Integer, nullable=False, default=0),
    Column("not_before", Instant, nullable=False),
    Column("lease_until", Instant, nullable=True),
    Column("external_id", Text, nullable=False, default=""),
    Column("last_error", Text, nullable=False, default=""),
    Column("created_at", Instant, nullable=False),
    Index(None, "state", "not_before"),
)

cursors = Table(
    "cursors",
    metadata,
    Column("inbox", String(255), primary_key=True),
    Column("value", Text, nullable=False, default=""),
    Column("owner", Text, nullable=False, default=""),
    Column("lease_until", Instant, nullable=True),
    Column("updated_at", Instant, nullable=False),
)

# What each gateway life says it has acknowledged; the audit holds it against the receipts.
gateway_lives = Table(
    "gateway_lives",
    metadata,
    Column("gateway", String(64), primary_key=True),
    Column("accepted", Id, nullable=False),  # acknowledged to a sender
    Column("settled", Id, nullable=False),  # every sequence number up to here was acknowledged or given up
    Column("given_up", Document, nullable=False, default=list),  # numbers whose sender heard a temporary refusal
    Column("ended", Boolean, nullable=False, default=False),
    Column("started_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
)
