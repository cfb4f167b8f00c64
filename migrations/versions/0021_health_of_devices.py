"""Broken and quarantined devices, and the memory of GPUs."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Apply the migration."""
    op.create_table(
        "device_health",
        sa.Column("host", sa.String(100), nullable=False),
        sa.Column("device", sa.String(60), nullable=False),
        sa.Column("problem", sa.String(2000), nullable=True),
        sa.Column("quarantined", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("since", MOMENT, nullable=True),
        sa.Column("retry_at", MOMENT, nullable=True),
        sa.Column("failed_probes", sa.Integer(), server_default="0", nullable=False),
        sa.Column("faults", JSON, nullable=False),
        sa.CheckConstraint(
            "(problem IS NULL) = (retry_at IS NULL)", name="a_problem_is_tried_again"
        ),
        sa.CheckConstraint(
            "NOT quarantined OR problem IS NOT NULL", name="quarantined_has_a_reason"
        ),
        sa.PrimaryKeyConstraint("host", "device", name="pk_device_health"),
    )
    op.add_column("devices", sa.Column("gpu_memory_bytes", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    """Revert the migration."""
    op.drop_column("devices", "gpu_memory_bytes")
    op.drop_table("device_health")
