"""Excerpts of a private corpus: whether models trained on it show them is its owner's choice."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the migration."""
    op.add_column(
        "corpora",
        sa.Column("allow_excerpts", sa.Boolean(), server_default=sa.false(), nullable=False),
    )


def downgrade() -> None:
    """Revert the migration."""
    op.drop_column("corpora", "allow_excerpts")
