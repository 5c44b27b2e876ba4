"""What became of suspended messages: a person lets one in or sets it aside, and it is read again; all of it is kept."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_COLUMNS = (
    ("decision", sa.String(length=12)),
    ("decided_by", sa.Text()),
    ("decided_at", sa.DateTime(timezone=True)),
    ("replayed_by", sa.Text()),
    ("replayed_at", sa.DateTime(timezone=True)),
)


def upgrade() -> None:
    """Add five columns, and an index of those that still wait."""
    for name, kind in _COLUMNS:
        op.add_column("suspended", sa.Column(name, kind, nullable=True))
    held = sa.text("decision IS NULL")
    op.create_index(op.f("ix_suspended_id"), "suspended", ["id"], sqlite_where=held, postgresql_where=held)


def downgrade() -> None:
    """Drop them again."""
    op.drop_index(op.f("ix_suspended_id"), "suspended")
    for name, _ in _COLUMNS:
        op.drop_column("suspended", name)
