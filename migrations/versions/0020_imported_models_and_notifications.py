"""Models from another server; and who wants to hear of a job's end, and what was sent to them.

An imported model has neither a corpus nor a training here.
"""

from datetime import datetime

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

#: The columns that are null for an imported model.
COLUMNS = (("models", "corpus_id"), ("checkpoints", "job_id"))
PENDING = "status = 'pending'"
_JSON = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


def upgrade() -> None:
    """Apply the migration."""
    op.add_column("models", sa.Column("origin", _JSON, nullable=True))
    for table, column in COLUMNS:
        _set_nullable(table, column, True)
    op.create_table(
        "notifications",
        _id("id"),
        _id("user_id"),
        _id("job_id", nullable=True),
        sa.Column("kind", sa.String(10), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("checkpoints", sa.Boolean(), server_default=sa.false(), nullable=False),
        _time("created_at"),
        sa.CheckConstraint("kind IN ('webhook', 'mail')", name="kind"),
        *_keys("notifications", user_id="users", job_id="jobs"),
    )
    op.create_index("ix_notifications_job_id", "notifications", ["job_id"])
    op.create_index("ix_notifications_user_id_job_id", "notifications", ["user_id", "job_id"])
    op.create_table(
        "deliveries",
        _id("id"),
        _id("user_id"),
        _id("job_id", nullable=True),
        _id("notification_id", nullable=True),
        sa.Column("kind", sa.String(10), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("event", sa.String(40), nullable=False),
        sa.Column("payload", _JSON, nullable=False),
        sa.Column("status", sa.String(10), nullable=False),
        sa.Column("tries", sa.Integer(), server_default="0", nullable=False),
        _time("next_try_at", nullable=True),
        _time("created_at"),
        _time("ended_at", nullable=True),
        sa.CheckConstraint("kind IN ('webhook', 'mail')", name="kind"),
        sa.CheckConstraint("status IN ('pending', 'delivered', 'failed')", name="status"),
        sa.CheckConstraint(
            "(status = 'pending') = (next_try_at IS NOT NULL)", name="pending_has_a_next_try"
        ),
        *_keys("deliveries", user_id="users", job_id="jobs"),
    )
    op.create_index("ix_deliveries_user_id", "deliveries", ["user_id"])
    op.create_index("ix_deliveries_job_id", "deliveries", ["job_id"])
    op.create_index(
        "ix_deliveries_next_try_at",
        "deliveries",
        ["next_try_at"],
        postgresql_where=sa.text(PENDING),
        sqlite_where=sa.text(PENDING),
    )
    op.create_table(
        "delivery_tries",
        _id("delivery_id"),
        sa.Column("number", sa.Integer(), nullable=False),
        _time("at"),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("status_code", sa.Integer(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["delivery_id"],
            ["deliveries.id"],
            name="fk_delivery_tries_delivery_id",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("delivery_id", "number", name="pk_delivery_tries"),
    )
    op.create_table(
        "webhook_secrets",
        _id("id"),
        _id("user_id"),
        sa.Column("secret", sa.String(100), nullable=False),
        _time("created_at"),
        _time("expires_at", nullable=True),
        *_keys("webhook_secrets", user_id="users"),
    )
    op.create_index("ix_webhook_secrets_user_id", "webhook_secrets", ["user_id"])


def downgrade() -> None:
    """Revert the migration. Imported models go: the version before has no place for them."""
    for table in ("webhook_secrets", "delivery_tries", "deliveries", "notifications"):
        op.drop_table(table)
    of_imported = "WHERE model_id IN (SELECT id FROM models WHERE corpus_id IS NULL)"
    for change in (
        "UPDATE texts SET model_id = NULL, checkpoint_id = NULL",
        "UPDATE jobs SET model_id = NULL, checkpoint_id = NULL",
        "DELETE FROM checkpoints",
    ):
        op.execute(f"{change} {of_imported}")
    op.execute("DELETE FROM models WHERE corpus_id IS NULL")
    for table, column in COLUMNS:
        _set_nullable(table, column, False)
    op.drop_column("models", "origin")


def _id(name: str, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Uuid(as_uuid=False), nullable=nullable)


def _time(name: str, nullable: bool = False) -> sa.Column[datetime]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _keys(table: str, **foreign: str) -> list[sa.Constraint]:
    """The primary key, and foreign keys by column, whose rows go with what they refer to."""
    return [
        sa.PrimaryKeyConstraint("id", name=f"pk_{table}"),
        *(
            sa.ForeignKeyConstraint(
                [column], [f"{other}.id"], name=f"fk_{table}_{column}", ondelete="CASCADE"
            )
            for column, other in foreign.items()
        ),
    ]


def _set_nullable(table: str, column: str, nullable: bool) -> None:
    if op.get_context().dialect.name != "sqlite":
        op.alter_column(table, column, nullable=nullable)
        return
    # Alembic would copy the table, and dropping the old one would delete what refers to it. What
    # follows is SQLite's own way to change a NOT NULL (lang_altertable.html, «Making Other Kinds
    # Of Table Schema Changes»): the rows stay as they are.
    connection = op.get_bind()
    declared = f"{column} CHAR(32)"
    before, after = (
        (f"{declared} NOT NULL", declared) if nullable else (declared, f"{declared} NOT NULL")
    )
    query = sa.text("SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = :name")
    sql = connection.scalar(query, {"name": table})
    if sql.count(before) != 1:
        raise RuntimeError(f"the table {table} declares {column} otherwise than this expects")
    version = connection.exec_driver_sql("PRAGMA schema_version").scalar_one()
    connection.exec_driver_sql("PRAGMA writable_schema = ON")
    connection.execute(
        sa.text("UPDATE sqlite_schema SET sql = :sql WHERE type = 'table' AND name = :name"),
        {"sql": sql.replace(before, after), "name": table},
    )
    connection.exec_driver_sql(f"PRAGMA schema_version = {version + 1}")
    connection.exec_driver_sql("PRAGMA writable_schema = OFF")
    if connection.exec_driver_sql(f"PRAGMA integrity_check({table})").scalar_one() != "ok":
        raise RuntimeError(f"changing the table {table} failed")
