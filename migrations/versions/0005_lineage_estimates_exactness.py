"""Where a model began, what a training was expected to take, and whether it is exact."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward."""
    op.add_column("models", sa.Column("from_checkpoint_id", sa.Uuid(as_uuid=False), nullable=True))
    op.create_index(op.f("ix_models_from_checkpoint_id"), "models", ["from_checkpoint_id"])
    op.add_column("jobs", sa.Column("estimate", JSON, nullable=True))
    op.add_column(
        "checkpoints",
        sa.Column("exact", sa.Boolean(), server_default=sa.true(), nullable=False),
    )


def downgrade() -> None:
    """Go back."""
    op.drop_column("checkpoints", "exact")
    op.drop_column("jobs", "estimate")
    op.drop_index(op.f("ix_models_from_checkpoint_id"), table_name="models")
    op.drop_column("models", "from_checkpoint_id")
