"""Identities are found by value first.

By kind first, PostgreSQL read every identity of that kind for each batch, until it had statistics of its own.
"""

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """The same constraint with its columns the other way round."""
    _turn(["kind", "value"], ["value", "kind"])


def downgrade() -> None:
    """And back."""
    _turn(["value", "kind"], ["kind", "value"])


def _turn(old: list[str], new: list[str]) -> None:
    with op.batch_alter_table("identities") as identities:  # SQLite has to write the table anew
        identities.drop_constraint(op.f(f"uq_identities_{'_'.join(old)}"), type_="unique")
        identities.create_unique_constraint(op.f(f"uq_identities_{'_'.join(new)}"), new)
