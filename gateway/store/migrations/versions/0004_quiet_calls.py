"""Calls that nobody finished telling us about are found by when we last heard of them."""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add an index."""
    op.create_index(op.f("ix_update_facts_received_at"), "update_facts", ["received_at"])


def downgrade() -> None:
    """Drop it again."""
    op.drop_index(op.f("ix_update_facts_received_at"), "update_facts")
