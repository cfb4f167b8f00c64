"""The checkpoint of a generation: looked up once and used in all its attempts."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the migration."""
    op.add_column("jobs", sa.Column("checkpoint_id", sa.Uuid(as_uuid=False), nullable=True))


def downgrade() -> None:
    """Revert the migration."""
    op.drop_column("jobs", "checkpoint_id")
