"""`quire migrate`: the database's schema."""

from quire.server.parts import exec_part


def migrate() -> None:
    """Migrate the database at DATABASE_URL to the schema of this version."""
    exec_part("migrate", "migrations")
