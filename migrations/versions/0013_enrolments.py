"""One-time links with which users make their first keys themselves."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the migration."""
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "enrolments",
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("user_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("prefix", sa.String(8), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("scopes", sa.String(100), nullable=False),
        sa.Column("first_key_only", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("made_by", sa.String(100), nullable=True),
        sa.Column("made_from", sa.String(100), nullable=True),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("expires_at", moment, nullable=False),
        sa.Column("redeemed_at", moment, nullable=True),
        sa.Column("redeemed_from", sa.String(100), nullable=True),
        sa.Column("revoked_at", moment, nullable=True),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name="fk_enrolments_user_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_enrolments"),
        sa.UniqueConstraint("prefix", name="uq_enrolments_prefix"),
    )
    op.create_index("ix_enrolments_user_id", "enrolments", ["user_id"])
    op.create_index("ix_enrolments_expires_at", "enrolments", ["expires_at"])


def downgrade() -> None:
    """Revert the migration."""
    op.drop_table("enrolments")
