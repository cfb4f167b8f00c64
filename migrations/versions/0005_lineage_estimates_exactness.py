"""The checkpoint a model began from, a training's estimate, and exactness of checkpoints."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the migration."""
    op.add_column("models", sa.Column("from_checkpoint_id", sa.Uuid(as_uuid=False), nullable=True))
    op.create_index(op.f("ix_models_from_checkpoint_id"), "models", ["from_checkpoint_id"])
    op.add_column("jobs", sa.Column("estimate", JSON, nullable=True))
    op.add_column(
        "checkpoints",
        sa.Column("exact", sa.Boolean(), server_default=sa.true(), nullable=False),
    )


def downgrade() -> None:
    """Revert the migration."""
    op.drop_column("checkpoints", "exact")
    op.drop_column("jobs", "estimate")
    op.drop_index(op.f("ix_models_from_checkpoint_id"), table_name="models")
    op.drop_column("models", "from_checkpoint_id")
