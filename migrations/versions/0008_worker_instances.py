"""Which start of a worker holds its name, so that a second one of the name can tell."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the migration."""
    for column in _columns():
        op.add_column("devices", column)


def downgrade() -> None:
    """Revert the migration."""
    for column in _columns():
        op.drop_column("devices", column.name)


def _columns() -> list[sa.Column[Any]]:
    return [
        sa.Column("instance_id", sa.String(32), nullable=True),
        sa.Column("instance_process", sa.String(200), nullable=True),
        sa.Column("instance_seen_at", sa.DateTime(timezone=True), nullable=True),
    ]
