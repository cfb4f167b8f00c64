"""The one history of the database's schema (Alembic). `shared.migrate` runs it."""
