"""What an upload was found to be: its findings, its normal form, and the files it came from."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the migration. Nothing is known of the corpora that exist."""
    json = sa.JSON().with_variant(JSONB(), "postgresql")
    op.add_column("corpora", sa.Column("findings", json, nullable=True))
    op.add_column("corpora", sa.Column("parts", json, nullable=True))
    op.add_column("corpora", sa.Column("normal_form", sa.String(3), nullable=True))


def downgrade() -> None:
    """Revert the migration."""
    for column in ("normal_form", "parts", "findings"):
        op.drop_column("corpora", column)
