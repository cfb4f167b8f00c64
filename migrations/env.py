"""Run the migrations on the connection that `migrations.migrate` passes."""

from alembic import context

from shared.tables import Base

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    compare_type=True,
    compare_server_default=True,
    # SQLite can't alter a table in place, so Alembic copies it.
    render_as_batch=connection.dialect.name == "sqlite",
    transaction_per_migration=False,
)
context.run_migrations()
