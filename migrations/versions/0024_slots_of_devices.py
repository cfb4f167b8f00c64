"""Several trainings on a device: which slot a worker is, and a job's part of its device."""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the migration."""
    op.add_column("devices", sa.Column("slot", sa.Integer(), server_default="0", nullable=False))
    op.add_column("devices", sa.Column("slots", sa.Integer(), server_default="1", nullable=False))
    op.add_column(
        "jobs", sa.Column("device_slots", sa.Integer(), server_default="1", nullable=False)
    )


def downgrade() -> None:
    """Revert the migration."""
    op.drop_column("jobs", "device_slots")
    op.drop_column("devices", "slots")
    op.drop_column("devices", "slot")
