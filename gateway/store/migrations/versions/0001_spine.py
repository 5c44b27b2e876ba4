"""The first schema: receipts, tickets, comments, people, evidence, suspended and dead."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None

Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Document = sa.JSON().with_variant(postgresql.JSONB(astext_type=sa.Text()), "postgresql")
Instant = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create everything."""
    op.create_table(
        "cursors",
        sa.Column("inbox", sa.String(length=255), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("lease_until", Instant, nullable=True),
        sa.Column("updated_at", Instant, nullable=False),
        sa.PrimaryKeyConstraint("inbox", name=op.f("pk_cursors")),
    )
    op.create_table(
        "customers",
        sa.Column("id", Id, autoincrement=False, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("language", sa.String(length=35), nullable=False),
        sa.Column("attributes", Document, nullable=False),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("updated_at", Instant, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_customers")),
    )
    op.create_table(
        "dead_letters",
        sa.Column("id", Id, autoincrement=False, nullable=False),
        sa.Column("receipt_id", sa.Uuid(), nullable=False),
        sa.Column("channel", sa.String(length=16), nullable=False),
        sa.Column("inbox", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("died_at", Instant, nullable=False),
        sa.Column("replayed_at", Instant, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dead_letters")),
        sa.UniqueConstraint("receipt_id", name=op.f("uq_dead_letters_receipt_id")),
    )
    op.create_table(
        "delivery_keys",
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("receipt_id", sa.Uuid(), nullable=False),
        sa.Column("inbox", sa.Text(), nullable=False),
        sa.Column("created_at", Instant, nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_delivery_keys")),
    )
    op.create_table(
        "gateway_lives",
        sa.Column("gateway", sa.String(length=64), nullable=False),
        sa.Column("accepted", Id, nullable=False),
        sa.Column("settled", Id, nullable=False),
        sa.Column("given_up", Document, nullable=False),
        sa.Column("ended", sa.Boolean(), nullable=False),
        sa.Column("started_at", Instant, nullable=False),
        sa.Column("updated_at", Instant, nullable=False),
        sa.PrimaryKeyConstraint("gateway", name=op.f("pk_gateway_lives")),
    )
    op.create_table(
        "receipts",
        sa.Column("receipt_id", sa.Uuid(), nullable=False),
        sa.Column("gateway", sa.String(length=64), nullable=False),
        sa.Column("sequence", Id, nullable=False),
        sa.Column("channel", sa.String(length=16), nullable=False),
        sa.Column("inbox", sa.Text(), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("ticket_id", Id, nullable=True),
        sa.Column("comment_id", Id, nullable=True),
        sa.Column("duplicate_of", sa.Uuid(), nullable=True),
        sa.Column("received_at", Instant, nullable=False),
        sa.Column("recorded_at", Instant, nullable=False),
        sa.PrimaryKeyConstraint("receipt_id", name=op.f("pk_receipts")),
    )
    op.create_index(op.f("ix_receipts_gateway_sequence"), "receipts", ["gateway", "sequence"], unique=False)
    op.create_index(op.f("ix_receipts_outcome_channel"), "receipts", ["outcome", "channel"], unique=False)
    op.create_index(op.f("ix_receipts_ticket_id"), "receipts", ["ticket_id"], unique=False)
    op.create_table(
        "suspended",
        sa.Column("id", Id, autoincrement=False, nullable=False),
        sa.Column("receipt_id", sa.Uuid(), nullable=False),
        sa.Column("channel", sa.String(length=16), nullable=False),
        sa.Column("inbox", sa.Text(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("message", Document, nullable=False),
        sa.Column("original_type", sa.Text(), nullable=False),
        sa.Column("original", sa.LargeBinary(), nullable=True),
        sa.Column("original_blob", sa.String(length=64), nullable=True),
        sa.Column("received_at", Instant, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_suspended")),
        sa.UniqueConstraint("receipt_id", name=op.f("uq_suspended_receipt_id")),
    )
    op.create_table(
        "update_facts",
        sa.Column("id", Id, autoincrement=False, nullable=False),
        sa.Column("about", sa.String(length=255), nullable=False),
        sa.Column("receipt_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("opens", sa.Boolean(), nullable=False),
        sa.Column("facts", Document, nullable=False),
        sa.Column("author", Document, nullable=True),
        sa.Column("attachments", Document, nullable=False),
        sa.Column("channel", sa.String(length=16), nullable=False),
        sa.Column("inbox", sa.Text(), nullable=False),
        sa.Column("received_at", Instant, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_update_facts")),
        sa.UniqueConstraint("receipt_id", name=op.f("uq_update_facts_receipt_id")),
    )
    op.create_index(op.f("ix_update_facts_about"), "update_facts", ["about"], unique=False)
    op.create_table(
        "identities",
        sa.Column("id", Id, autoincrement=False, nullable=False),
        sa.Column("customer_id", Id, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("trust", sa.String(length=16), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("created_at", Instant, nullable=False),
        sa.ForeignKeyConstraint(["customer_id"], ["customers.id"], name=op.f("fk_identities_customer_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_identities")),
        sa.UniqueConstraint("kind", "value", name=op.f("uq_identities_kind_value")),
    )
    op.create_index(op.f("ix_identities_customer_id"), "identities", ["customer_id"], unique=False)
    op.create_table(
        "tickets",
        sa.Column("id", Id, autoincrement=False, nullable=False),
        sa.Column("channel", sa.String(length=16), nullable=False),
        sa.Column("inbox", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("requester_id", Id, nullable=True),
        sa.Column("language", sa.String(length=35), nullable=False),
        sa.Column("merged_into", Id, nullable=True),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("updated_at", Instant, nullable=False),
        sa.Column("customer_waits_since", Instant, nullable=True),
        sa.Column("comment_count", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["merged_into"], ["tickets.id"], name=op.f("fk_tickets_merged_into")),
        sa.ForeignKeyConstraint(["requester_id"], ["customers.id"], name=op.f("fk_tickets_requester_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tickets")),
    )
    op.create_index(op.f("ix_tickets_channel_id"), "tickets", ["channel", "id"], unique=False)
    op.create_index(op.f("ix_tickets_customer_waits_since"), "tickets", ["customer_waits_since"], unique=False)
    op.create_index(
        op.f("ix_tickets_merged_into"),
        "tickets",
        ["merged_into"],
        unique=False,
        sqlite_where=sa.text("merged_into IS NOT NULL"),
        postgresql_where=sa.text("merged_into IS NOT NULL"),
    )
    op.create_index(op.f("ix_tickets_requester_id"), "tickets", ["requester_id"], unique=False)
    op.create_index(op.f("ix_tickets_status_id"), "tickets", ["status", "id"], unique=False)
    op.create_index(op.f("ix_tickets_updated_at_id"), "tickets", ["updated_at", "id"], unique=False)
    op.create_table(
        "comments",
        sa.Column("id", Id, autoincrement=False, nullable=False),
        sa.Column("ticket_id", Id, nullable=False),
        sa.Column("receipt_id", sa.Uuid(), nullable=False),
        sa.Column("author_id", Id, nullable=True),
        sa.Column("channel", sa.String(length=16), nullable=False),
        sa.Column("inbox", sa.Text(), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=False),
        sa.Column("author_name", sa.Text(), nullable=False),
        sa.Column("author_kind", sa.String(length=16), nullable=False),
        sa.Column("author_value", sa.Text(), nullable=False),
        sa.Column("author_trust", sa.String(length=16), nullable=False),
        sa.Column("author_evidence", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("full_text", sa.Text(), nullable=False),
        sa.Column("html", sa.Text(), nullable=False),
        sa.Column("language", sa.String(length=35), nullable=False),
        sa.Column("public", sa.Boolean(), nullable=False),
        sa.Column("verdict", sa.String(length=24), nullable=False),
        sa.Column("matched_by", sa.String(length=24), nullable=False),
        sa.Column("explanation", Document, nullable=False),
        sa.Column("automated", Document, nullable=False),
        sa.Column("problems", Document, nullable=False),
        sa.Column("fields", Document, nullable=False),
        sa.Column("recipients", Document, nullable=False),
        sa.Column("repeat_of", Id, nullable=True),
        sa.Column("original_type", sa.Text(), nullable=False),
        sa.Column("original", sa.LargeBinary(), nullable=True),
        sa.Column("original_blob", sa.String(length=64), nullable=True),
        sa.Column("sent_at", Instant, nullable=True),
        sa.Column("received_at", Instant, nullable=False),
        sa.Column("created_at", Instant, nullable=False),
        sa.ForeignKeyConstraint(["author_id"], ["customers.id"], name=op.f("fk_comments_author_id")),
        sa.ForeignKeyConstraint(["repeat_of"], ["comments.id"], name=op.f("fk_comments_repeat_of")),
        sa.ForeignKeyConstraint(["ticket_id"], ["tickets.id"], name=op.f("fk_comments_ticket_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_comments")),
        sa.UniqueConstraint("receipt_id", name=op.f("uq_comments_receipt_id")),
    )
    op.create_index(op.f("ix_comments_author_id_received_at"), "comments", ["author_id", "received_at"], unique=False)
    op.create_index(op.f("ix_comments_ticket_id_id"), "comments", ["ticket_id", "id"], unique=False)
    op.create_table(
        "events",
        sa.Column("id", Id, autoincrement=False, nullable=False),
        sa.Column("ticket_id", Id, nullable=True),
        sa.Column("kind", sa.String(length=24), nullable=False),
        sa.Column("detail", Document, nullable=False),
        sa.Column("at", Instant, nullable=False),
        sa.ForeignKeyConstraint(["ticket_id"], ["tickets.id"], name=op.f("fk_events_ticket_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_events")),
    )
    op.create_index(op.f("ix_events_ticket_id"), "events", ["ticket_id"], unique=False)
    op.create_table(
        "participants",
        sa.Column("id", Id, autoincrement=False, nullable=False),
        sa.Column("ticket_id", Id, nullable=False),
        sa.Column("identity", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["ticket_id"], ["tickets.id"], name=op.f("fk_participants_ticket_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_participants")),
        sa.UniqueConstraint("ticket_id", "identity", name=op.f("uq_participants_ticket_id_identity")),
    )
    op.create_index(op.f("ix_participants_identity"), "participants", ["identity"], unique=False)
    op.create_table(
        "ticket_links",
        sa.Column("id", Id, autoincrement=False, nullable=False),
        sa.Column("ticket_id", Id, nullable=False),
        sa.Column("other_id", Id, nullable=False),
        sa.Column("kind", sa.String(length=24), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_at", Instant, nullable=False),
        sa.ForeignKeyConstraint(["other_id"], ["tickets.id"], name=op.f("fk_ticket_links_other_id")),
        sa.ForeignKeyConstraint(["ticket_id"], ["tickets.id"], name=op.f("fk_ticket_links_ticket_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ticket_links")),
        sa.UniqueConstraint("ticket_id", "other_id", "kind", name=op.f("uq_ticket_links_ticket_id_other_id_kind")),
    )
    op.create_index(op.f("ix_ticket_links_other_id"), "ticket_links", ["other_id"], unique=False)
    op.create_index(op.f("ix_ticket_links_ticket_id"), "ticket_links", ["ticket_id"], unique=False)
    op.create_table(
        "attachments",
        sa.Column("id", Id, autoincrement=False, nullable=False),
        sa.Column("comment_id", Id, nullable=True),
        sa.Column("suspended_id", Id, nullable=True),
        sa.Column("filename", sa.Text(), nullable=False),
        sa.Column("content_type", sa.Text(), nullable=False),
        sa.Column("sniffed_type", sa.Text(), nullable=False),
        sa.Column("content_id", sa.Text(), nullable=False),
        sa.Column("inline", sa.Boolean(), nullable=False),
        sa.Column("source_url", sa.Text(), nullable=False),
        sa.Column("size", Id, nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=True),
        sa.Column("blob", sa.String(length=64), nullable=True),
        sa.ForeignKeyConstraint(["comment_id"], ["comments.id"], name=op.f("fk_attachments_comment_id")),
        sa.ForeignKeyConstraint(["suspended_id"], ["suspended.id"], name=op.f("fk_attachments_suspended_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attachments")),
    )
    op.create_index(op.f("ix_attachments_comment_id"), "attachments", ["comment_id"], unique=False)
    op.create_index(op.f("ix_attachments_suspended_id"), "attachments", ["suspended_id"], unique=False)
    op.create_table(
        "folded",
        sa.Column("about", sa.String(length=255), nullable=False),
        sa.Column("comment_id", Id, nullable=False),
        sa.ForeignKeyConstraint(["comment_id"], ["comments.id"], name=op.f("fk_folded_comment_id")),
        sa.PrimaryKeyConstraint("about", name=op.f("pk_folded")),
    )
    op.create_table(
        "outbox",
        sa.Column("id", Id, autoincrement=False, nullable=False),
        sa.Column("reply_id", sa.Uuid(), nullable=False),
        sa.Column("ticket_id", Id, nullable=False),
        sa.Column("comment_id", Id, nullable=True),
        sa.Column("channel", sa.String(length=16), nullable=False),
        sa.Column("inbox", sa.Text(), nullable=False),
        sa.Column("payload", Document, nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("not_before", Instant, nullable=False),
        sa.Column("lease_until", Instant, nullable=True),
        sa.Column("external_id", sa.Text(), nullable=False),
        sa.Column("last_error", sa.Text(), nullable=False),
        sa.Column("created_at", Instant, nullable=False),
        sa.ForeignKeyConstraint(["comment_id"], ["comments.id"], name=op.f("fk_outbox_comment_id")),
        sa.ForeignKeyConstraint(["ticket_id"], ["tickets.id"], name=op.f("fk_outbox_ticket_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
        sa.UniqueConstraint("reply_id", name=op.f("uq_outbox_reply_id")),
    )
    op.create_index(op.f("ix_outbox_state_not_before"), "outbox", ["state", "not_before"], unique=False)
    op.create_index(op.f("ix_outbox_ticket_id"), "outbox", ["ticket_id"], unique=False)
    op.create_table(
        "thread_keys",
        sa.Column("id", Id, autoincrement=False, nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("role", sa.String(length=12), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("ticket_id", Id, nullable=False),
        sa.Column("comment_id", Id, nullable=True),
        sa.Column("channel", sa.String(length=16), nullable=False),
        sa.Column("at", Instant, nullable=False),
        sa.ForeignKeyConstraint(["comment_id"], ["comments.id"], name=op.f("fk_thread_keys_comment_id")),
        sa.ForeignKeyConstraint(["ticket_id"], ["tickets.id"], name=op.f("fk_thread_keys_ticket_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_thread_keys")),
    )
    op.create_index(op.f("ix_thread_keys_key_role_author"), "thread_keys", ["key", "role", "author"], unique=False)
    op.create_index(op.f("ix_thread_keys_ticket_id"), "thread_keys", ["ticket_id"], unique=False)


def downgrade() -> None:
    """There is nothing before the first schema; a downgrade would drop customers' messages."""
    raise RuntimeError("the first schema cannot be downgraded: restore a backup instead")
