"""Which checkpoint a generation writes with: looked up once, whatever its attempts."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward."""
    op.add_column("jobs", sa.Column("checkpoint_id", sa.Uuid(as_uuid=False), nullable=True))


def downgrade() -> None:
    """Go back."""
    op.drop_column("jobs", "checkpoint_id")
