"""Migrate a database to this version's schema, under a lock."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

import migrations
from shared.database import log_database, make_engine
from shared.logs import configure_logging
from shared.settings import SettingsError, load_settings

#: Serialises migrations on PostgreSQL. On SQLite the write lock does.
MIGRATION_LOCK = 0x5155_00FF
LOCK_TIMEOUT_SECONDS = 60

log = structlog.get_logger(__name__)


def upgrade(url: str, revision: str = "head") -> None:
    """Migrate forward. Several processes may call this at once."""
    with _configured(url) as config:
        command.upgrade(config, revision)


def downgrade(url: str, revision: str = "base") -> None:
    """Migrate back. Data that the older schema has no place for is lost."""
    with _configured(url) as config:
        command.downgrade(config, revision)


def current(url: str) -> str | None:
    """Return the revision of a database; None for an empty one."""
    engine = make_engine(url)
    with engine.connect() as connection:
        revision = MigrationContext.configure(connection).get_current_revision()
    engine.dispose()
    return revision


def newest() -> str:
    """Return the revision that this version of Quire needs."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    if head is None:
        raise RuntimeError("the package holds no migrations")
    return head


def knows(revision: str) -> bool:
    """Whether a revision is one of this version's, the newest or an older one."""
    script = ScriptDirectory.from_config(_config())
    return revision in {each.revision for each in script.walk_revisions()}


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    config.set_main_option("path_separator", "os")
    return config


@contextmanager
def _configured(url: str) -> Iterator[Config]:
    engine = make_engine(url)
    try:
        with engine.begin() as connection:
            _lock(connection)
            config = _config()
            config.attributes["connection"] = connection
            yield config
    finally:
        engine.dispose()


def _lock(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_SECONDS}s'"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})


def main() -> int:
    """Migrate the database that the environment names to the newest schema."""
    try:
        settings = load_settings()
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    configure_logging(settings)
    try:
        engine = make_engine(settings.database)
        log_database(engine)
        engine.dispose()
        before = current(settings.database)
        upgrade(settings.database)
    except OperationalError as error:
        print(f"DATABASE_URL: the database can't be reached: {error.orig}", file=sys.stderr)
        return 1
    log.info("migrated", before=before, after=current(settings.database))
    return 0
