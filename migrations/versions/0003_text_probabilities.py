"""Texts store their probability and how they were sampled."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")


def upgrade() -> None:
    """Apply the migration."""
    op.add_column("texts", sa.Column("temperature_to", sa.Double(), nullable=True))
    op.add_column(
        "texts", sa.Column("repetition_penalty", sa.Double(), server_default="1", nullable=False)
    )
    op.add_column(
        "texts", sa.Column("echo", sa.Boolean(), server_default=sa.false(), nullable=False)
    )
    op.add_column("texts", sa.Column("mean_logprob", sa.Double(), nullable=True))
    op.add_column("texts", sa.Column("bits_per_char", sa.Double(), nullable=True))
    op.add_column("texts", sa.Column("logprobs", JSON, nullable=True))


def downgrade() -> None:
    """Revert the migration."""
    for column in (
        "logprobs",
        "bits_per_char",
        "mean_logprob",
        "echo",
        "repetition_penalty",
        "temperature_to",
    ):
        op.drop_column("texts", column)
