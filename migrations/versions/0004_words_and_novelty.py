"""Words as tokens, and what a text copies from its corpus."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

NEW: tuple[tuple[str, str, sa.types.TypeEngine[Any]], ...] = (
    ("models", "characters_per_token", sa.Double()),
    ("metrics", "bits_per_char", sa.Double()),
    ("texts", "copied_characters", sa.Integer()),
    ("texts", "copied_at", sa.Integer()),
    ("texts", "copied_from", sa.Integer()),
    ("texts", "known_grams", sa.Double()),
)


def upgrade() -> None:
    """Apply the migration. The tokens of all existing models are characters."""
    for table, column, kind in NEW:
        op.add_column(table, sa.Column(column, kind, nullable=True))
    op.execute("UPDATE models SET characters_per_token = 1")


def downgrade() -> None:
    """Revert the migration."""
    for table, column, _ in reversed(NEW):
        op.drop_column(table, column)
