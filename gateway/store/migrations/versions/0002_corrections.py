"""Corrections that can be undone, customers that turn out to be one person, and claims that wait for a person."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"

Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Document = sa.JSON().with_variant(postgresql.JSONB(astext_type=sa.Text()), "postgresql")
Instant = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Add three tables and two columns."""
    op.add_column("customers", sa.Column("merged_into", Id, nullable=True))
    op.add_column("customers", sa.Column("external_id", sa.Text(), nullable=True))
    op.create_index(op.f("ix_customers_external_id"), "customers", ["external_id"], unique=True)
    merged = sa.text("merged_into IS NOT NULL")
    op.create_index(
        op.f("ix_customers_merged_into"), "customers", ["merged_into"], sqlite_where=merged, postgresql_where=merged
    )
    op.create_table(
        "corrections",
        sa.Column("id", Id, autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(length=24), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("changes", Document, nullable=False),
        sa.Column("at", Instant, nullable=False),
        sa.Column("undone_at", Instant, nullable=True),
        sa.Column("undone_by", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["id"], ["events.id"], name=op.f("fk_corrections_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_corrections")),
    )
    op.create_table(
        "correction_subjects",
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("correction_id", Id, nullable=False),
        sa.ForeignKeyConstraint(
            ["correction_id"], ["corrections.id"], name=op.f("fk_correction_subjects_correction_id")
        ),
        sa.PrimaryKeyConstraint("subject", "correction_id", name=op.f("pk_correction_subjects")),
    )
    op.create_index(op.f("ix_correction_subjects_correction_id"), "correction_subjects", ["correction_id"])
    op.create_table(
        "claims",
        sa.Column("id", Id, autoincrement=False, nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("claimed", sa.Text(), nullable=False),
        sa.Column("proven", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("ticket_id", Id, nullable=True),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("decided_by", sa.Text(), nullable=False),
        sa.Column("decided_at", Instant, nullable=True),
        sa.Column("created_at", Instant, nullable=False),
        sa.ForeignKeyConstraint(["ticket_id"], ["tickets.id"], name=op.f("fk_claims_ticket_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_claims")),
        sa.UniqueConstraint("author", "claimed", name=op.f("uq_claims_author_claimed")),
    )
    op.create_index(op.f("ix_claims_claimed"), "claims", ["claimed"])


def downgrade() -> None:
    """Drop them again."""
    for table in ("claims", "correction_subjects", "corrections"):
        op.drop_table(table)
    op.drop_index(op.f("ix_customers_merged_into"), "customers")
    op.drop_index(op.f("ix_customers_external_id"), "customers")
    op.drop_column("customers", "external_id")
    op.drop_column("customers", "merged_into")
