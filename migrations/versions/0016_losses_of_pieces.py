"""The validation losses of the held-out pieces at each point of a loss curve."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the migration. Nothing is known of the points that exist."""
    json = sa.JSON().with_variant(JSONB(), "postgresql")
    op.add_column("metrics", sa.Column("piece_losses", json, nullable=True))


def downgrade() -> None:
    """Revert the migration."""
    op.drop_column("metrics", "piece_losses")
