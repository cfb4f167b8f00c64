"""Rolling upgrades: a worker of the version before runs on while the database is already new."""

import io
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import inspect

import migrations
from migrations.migrate import upgrade
from shared.database import make_engine
from tests.services.redis import RedisServer
from tests.worker.harness import make_harness, some_text

ROOT = Path(__file__).parents[2]
#: A table's columns by name: type, and whether a row may leave the column out.
Columns = dict[str, tuple[str, bool]]


def test_migrations_only_expand(empty_database_url: str) -> None:
    """Whoever reads and writes as the version before did, can go on: nothing is taken away."""
    url, before = empty_database_url, {}
    for revision in revisions():
        upgrade(url, revision)
        after = schema(url)
        for table, columns in before.items():
            assert table in after, f"{revision} takes the table {table} away"
            for name, column in columns.items():
                assert after[table].get(name) == column, f"{revision} changes {table}.{name}"
            for name in after[table].keys() - columns.keys():
                assert after[table][name][1], f"{revision}: {table}.{name} must be written"
        before = after
    assert before


def test_a_contraction_would_be_noticed(empty_database_url: str) -> None:
    """What is compared above is seen to change."""
    upgrade(empty_database_url)
    before = schema(empty_database_url)
    engine = make_engine(empty_database_url)
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE users DROP COLUMN max_running")
        connection.exec_driver_sql("ALTER TABLE users ADD COLUMN must INTEGER DEFAULT 1 NOT NULL")
    engine.dispose()
    after = schema(empty_database_url)
    assert before["users"].keys() - after["users"].keys() == {"max_running"}
    assert after["users"]["must"][1]
    assert not after["users"]["name"][1]


@pytest.mark.slow
def test_the_released_worker_runs_on_the_new_database(
    sqlite_url: str, redis_of_session: RedisServer, tmp_path: Path, released: Path
) -> None:
    redis_of_session.flush()
    world = make_harness(sqlite_url, redis_of_session.url, tmp_path, PYTHONPATH=str(released))
    world.corpus(some_text())
    with world.worker(directory=released):
        trained = world.wait_until_succeeded(world.train(epochs=1))
        assert trained.model_id
        world.wait_until_succeeded(world.generate(trained.model_id))
    world.engine.dispose()


@pytest.fixture
def released(tmp_path: Path) -> Path:
    """The source of the last release."""
    git = shutil.which("git")
    if git is None:
        pytest.skip("there is no git")
    find = (git, "describe", "--tags", "--abbrev=0")
    tag = subprocess.run(find, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
    if not tag:
        pytest.skip("nothing was released yet: there is no tag")
    packed = subprocess.run((git, "archive", tag), cwd=ROOT, capture_output=True, check=True).stdout
    path = tmp_path / "released"
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(path, filter="data")
    return path


def revisions() -> list[str]:
    """From the first to the newest."""
    script = ScriptDirectory(str(Path(migrations.__file__).parent))
    return [one.revision for one in reversed(list(script.walk_revisions()))]


def schema(url: str) -> dict[str, Columns]:
    """The columns of every table."""
    engine = make_engine(url)
    inspector = inspect(engine)
    found = {
        table: {column["name"]: told(column) for column in inspector.get_columns(table)}
        for table in inspector.get_table_names()
        if table != "alembic_version"
    }
    engine.dispose()
    return found


def told(column: Any) -> tuple[str, bool]:
    """A column's type, and whether a row may leave it out."""
    optional = bool(column["nullable"]) or column["default"] is not None
    return str(column["type"]), optional
