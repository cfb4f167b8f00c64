"""What can be restored, links that show one thing, and what is known of a text if asked for."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)
ID = sa.Uuid(as_uuid=False)


def upgrade() -> None:
    """Apply the migration. Nothing that exists is deleted, shared by a link, or kept."""
    json = sa.JSON().with_variant(JSONB(), "postgresql")
    for table in ("corpora", "models"):
        op.add_column(table, sa.Column("deleted_at", MOMENT, nullable=True))
        _create_partial(f"ix_{table}_deleted_at", table, ["deleted_at"], "deleted_at IS NOT NULL")
    for column in ("tokens", "top_logprobs", "copied_spans", "next_tokens"):
        op.add_column("texts", sa.Column(column, json, nullable=True))
    op.add_column(
        "texts", sa.Column("kept", sa.Boolean(), server_default=sa.false(), nullable=False)
    )
    op.add_column("texts", sa.Column("note", sa.Text(), nullable=True))
    _create_partial("ix_texts_kept", "texts", ["user_id", "id"], "kept")
    op.create_table(
        "share_links",
        sa.Column("id", ID, nullable=False),
        sa.Column("user_id", ID, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("job_id", ID, nullable=True),
        sa.Column("text_id", ID, nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False),
        sa.CheckConstraint(
            "(job_id IS NULL) <> (text_id IS NULL)", name=op.f("ck_share_links_names_one")
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name="fk_share_links_user_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name="fk_share_links_job_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["text_id"], ["texts.id"], name="fk_share_links_text_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_share_links"),
        sa.UniqueConstraint("sha256", name="uq_share_links_sha256"),
    )
    for column in ("user_id", "job_id", "text_id"):
        op.create_index(f"ix_share_links_{column}", "share_links", [column])


def downgrade() -> None:
    """Revert the migration. What was deleted and could be restored is there again."""
    op.drop_table("share_links")
    op.drop_index("ix_texts_kept", "texts")
    for column in ("note", "kept", "next_tokens", "copied_spans", "top_logprobs", "tokens"):
        op.drop_column("texts", column)
    for table in ("models", "corpora"):
        op.drop_index(f"ix_{table}_deleted_at", table)
        op.drop_column(table, "deleted_at")


def _create_partial(name: str, table: str, columns: list[str], where: str) -> None:
    condition = sa.text(where)
    op.create_index(name, table, columns, postgresql_where=condition, sqlite_where=condition)
