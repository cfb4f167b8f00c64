"""What the items of a corpus are, and whether a text is a copy of one."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the migration. The corpora that exist are texts."""
    json = sa.JSON().with_variant(JSONB(), "postgresql")
    op.add_column("corpora", sa.Column("items", json, nullable=True))
    op.add_column("texts", sa.Column("copy", sa.Boolean(), nullable=True))


def downgrade() -> None:
    """Revert the migration."""
    op.drop_column("texts", "copy")
    op.drop_column("corpora", "items")
