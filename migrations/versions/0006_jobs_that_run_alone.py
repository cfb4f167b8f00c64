"""Jobs of a batch that killed its worker run alone, so that only their own failures count."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the migration."""
    op.add_column(
        "jobs", sa.Column("alone", sa.Boolean(), server_default=sa.false(), nullable=False)
    )


def downgrade() -> None:
    """Revert the migration."""
    op.drop_column("jobs", "alone")
