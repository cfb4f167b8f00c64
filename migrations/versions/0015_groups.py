"""Groups, their members, what is shared with them, and the teacher who made a user."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)
ID = sa.Uuid(as_uuid=False)


def upgrade() -> None:
    """Apply the migration."""
    op.create_table(
        "groups",
        sa.Column("id", ID, nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("max_running", sa.Integer(), nullable=True),
        sa.Column("max_queued", sa.Integer(), nullable=True),
        sa.Column("max_device_seconds_per_day", sa.Double(), nullable=True),
        sa.Column("max_stored_bytes", sa.BigInteger(), nullable=True),
        sa.Column("member_max_running", sa.Integer(), nullable=True),
        sa.Column("member_max_queued", sa.Integer(), nullable=True),
        sa.Column("member_max_device_seconds_per_day", sa.Double(), nullable=True),
        sa.Column("member_max_stored_bytes", sa.BigInteger(), nullable=True),
        sa.Column("member_max_corpora_bytes", sa.BigInteger(), nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("ends_at", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_groups"),
        sa.UniqueConstraint("name", name="uq_groups_name"),
    )
    op.create_table(
        "memberships",
        sa.Column("group_id", ID, nullable=False),
        sa.Column("user_id", ID, nullable=False),
        sa.Column("role", sa.String(10), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.CheckConstraint("role IN ('member', 'teacher')", name=op.f("ck_memberships_role")),
        sa.ForeignKeyConstraint(
            ["group_id"], ["groups.id"], name="fk_memberships_group_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name="fk_memberships_user_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("group_id", "user_id", name="pk_memberships"),
    )
    op.create_index("ix_memberships_user_id", "memberships", ["user_id"])
    for table in ("corpora", "models"):
        op.add_column(table, sa.Column("group_id", ID, nullable=True))
        op.create_index(f"ix_{table}_group_id", table, ["group_id"])
    op.add_column("users", sa.Column("teacher_id", ID, nullable=True))
    op.create_index("ix_users_teacher_id", "users", ["teacher_id"])
    op.add_column(
        "users",
        sa.Column("disabled_by_teacher", sa.Boolean(), server_default=sa.false(), nullable=False),
    )


def downgrade() -> None:
    """Revert the migration. What was shared with a group is private again."""
    op.drop_column("users", "disabled_by_teacher")
    op.drop_index("ix_users_teacher_id", "users")
    op.drop_column("users", "teacher_id")
    for table in ("models", "corpora"):
        op.drop_index(f"ix_{table}_group_id", table)
        op.drop_column(table, "group_id")
    op.drop_table("memberships")
    op.drop_table("groups")
