"""The audit: who did what, when, and from which address."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the migration."""
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "audit_events",
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("at", moment, nullable=False),
        sa.Column("action", sa.String(40), nullable=False),
        sa.Column("actor", sa.String(100), nullable=True),
        sa.Column("key_prefix", sa.String(8), nullable=True),
        sa.Column("address", sa.String(100), nullable=True),
        sa.Column("user", sa.String(100), nullable=True),
        sa.Column("resource_kind", sa.String(20), nullable=True),
        sa.Column("resource_id", sa.String(40), nullable=True),
        sa.Column("details", sa.JSON().with_variant(JSONB(), "postgresql"), nullable=True),
        sa.Column("count", sa.Integer(), nullable=False, server_default="1"),
        sa.Column("counted_minute", moment, nullable=True),
        sa.CheckConstraint("count > 0", name="count"),
        sa.PrimaryKeyConstraint("id", name="pk_audit_events"),
        sa.UniqueConstraint(
            "address", "counted_minute", name="uq_audit_events_address_counted_minute"
        ),
    )
    op.create_index("ix_audit_events_at", "audit_events", ["at"])


def downgrade() -> None:
    """Revert the migration."""
    op.drop_table("audit_events")
