"""Caps per user, dependencies between jobs, pause, yield and promotion."""

from typing import Any

import sqlalchemy as sa
from alembic import op

MOMENT = sa.DateTime(timezone=True)

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

LINE = ["kind", "user_id", "priority", "id"]
INDEXES = {
    "ix_jobs_waiting": (["user_id", "kind", "priority", "id"], "status IN ('queued', 'paused')"),
    "ix_jobs_lifted": (["kind", "lifted_at"], "lifted_at IS NOT NULL AND status = 'queued'"),
    "ix_jobs_blocked": (["blocked_by"], "blocked_by IS NOT NULL"),
    "ix_jobs_start_before": (
        ["start_before"],
        "start_before IS NOT NULL AND started_at IS NULL AND status IN ('queued', 'paused')",
    ),
    "ix_jobs_succeeded": (["kind", "finished_at"], "status = 'succeeded'"),
}


def upgrade() -> None:
    """Apply the migration."""
    for column in _user_columns():
        op.add_column("users", column)
    for column in _job_columns():
        op.add_column("jobs", column)
    op.drop_index("ix_jobs_line", "jobs")
    _index("ix_jobs_line", LINE, "status = 'queued' AND blocked_by IS NULL")
    for name, (columns, where) in INDEXES.items():
        _index(name, columns, where)


def downgrade() -> None:
    """Revert the migration."""
    for name in INDEXES:
        op.drop_index(name, "jobs")
    op.drop_index("ix_jobs_line", "jobs")
    _index("ix_jobs_line", LINE, "status = 'queued'")
    for column in _job_columns():
        op.drop_column("jobs", column.name)
    for column in _user_columns():
        op.drop_column("users", column.name)


def _user_columns() -> list[sa.Column[Any]]:
    return [
        sa.Column("max_queued", sa.Integer(), nullable=True),
        sa.Column("max_device_seconds_per_day", sa.Double(), nullable=True),
        sa.Column("max_stored_bytes", sa.BigInteger(), nullable=True),
        sa.Column("max_corpora_bytes", sa.BigInteger(), nullable=True),
        sa.Column("used_seconds", sa.Double(), server_default="0", nullable=False),
        sa.Column("used_on", sa.Date(), nullable=True),
    ]


def _job_columns() -> list[sa.Column[Any]]:
    return [
        sa.Column("ran_seconds", sa.Double(), server_default="0", nullable=False),
        sa.Column("pause_requested_at", MOMENT, nullable=True),
        sa.Column("yield_requested_at", MOMENT, nullable=True),
        sa.Column("lifted_at", MOMENT, nullable=True),
        sa.Column("after_job_id", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("blocked_by", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("start_before", MOMENT, nullable=True),
        sa.Column("deadline_seconds", sa.Double(), nullable=True),
    ]


def _index(name: str, columns: list[str], where: str) -> None:
    condition = sa.text(where)
    op.create_index(
        name, "jobs", columns, unique=False, postgresql_where=condition, sqlite_where=condition
    )
