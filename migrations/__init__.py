"""The one history of the database's schema (Alembic). `migrations.migrate` runs it."""
