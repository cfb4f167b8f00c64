"""Counters of `/metrics`, announcements, and an index of the few jobs that did not succeed."""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

UNSUCCESSFUL = sa.text("status IN ('failed', 'cancelled')")


def upgrade() -> None:
    """Apply the migration."""
    op.create_table(
        "counters",
        sa.Column("name", sa.String(60), nullable=False),
        sa.Column("labels", sa.String(200), nullable=False),
        sa.Column("shard", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("name", "labels", "shard", name="pk_counters"),
    )
    op.create_table(
        "announcements",
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("text", sa.String(500), nullable=False),
        sa.Column("level", sa.String(10), nullable=False),
        sa.Column("made_by", sa.String(100), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("level IN ('info', 'warning')", name="level"),
        sa.PrimaryKeyConstraint("id", name="pk_announcements"),
    )
    op.create_index(
        "ix_jobs_unsuccessful",
        "jobs",
        ["kind", "status"],
        postgresql_where=UNSUCCESSFUL,
        sqlite_where=UNSUCCESSFUL,
    )


def downgrade() -> None:
    """Revert the migration."""
    op.drop_index("ix_jobs_unsuccessful", table_name="jobs")
    op.drop_table("announcements")
    op.drop_table("counters")
