"""Who made a key and from where, so that its owner can see a key that an admin made."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the migration."""
    for name in ("made_by", "made_from"):
        op.add_column("api_keys", sa.Column(name, sa.String(100), nullable=True))


def downgrade() -> None:
    """Revert the migration."""
    for name in ("made_from", "made_by"):
        op.drop_column("api_keys", name)
