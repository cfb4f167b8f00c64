"""Whose worker died beside others: such jobs run alone, so that only their own deaths count."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward."""
    op.add_column(
        "jobs", sa.Column("alone", sa.Boolean(), server_default=sa.false(), nullable=False)
    )


def downgrade() -> None:
    """Go back."""
    op.drop_column("jobs", "alone")
