"""How many draws a new item took, and which item of the corpus is nearest to a text."""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the migration."""
    op.add_column("texts", sa.Column("discarded", sa.Integer(), nullable=True))
    op.add_column("texts", sa.Column("nearest", sa.Text(), nullable=True))
    op.add_column("texts", sa.Column("nearest_distance", sa.Integer(), nullable=True))


def downgrade() -> None:
    """Revert the migration."""
    op.drop_column("texts", "nearest_distance")
    op.drop_column("texts", "nearest")
    op.drop_column("texts", "discarded")
