"""Rolling upgrades: a worker of the last release keeps working on a migrated database."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import inspect

import migrations
from migrations.migrate import upgrade
from shared.database import make_engine, make_sessions
from shared.tables import Job
from tests.conftest import without
from tests.services.redis import RedisServer
from tests.worker.harness import make_harness, some_text

#: Fields of a training's spec that the last release does not know.
NEW_FIELDS = ("holdout", "items", "tied_embedding")
#: What may be null since a migration: only in rows that no version before it makes. Such a version
#: can't show these while it still runs beside the new one.
NULL_SINCE = {
    "0020": {("models", "corpus_id"), ("checkpoints", "job_id")},  # of imported models
}
ROOT = Path(__file__).parents[2]
#: The columns of a table by name: the type, and whether an INSERT may omit the column.
Columns = dict[str, tuple[str, bool]]


def test_migrations_only_expand(empty_database_url: str) -> None:
    """A migration drops and changes nothing that the version before reads or writes."""
    url, before = empty_database_url, {}
    for revision in revisions():
        upgrade(url, revision)
        after = schema(url)
        for table, columns in before.items():
            assert table in after, f"{revision} drops the table {table}"
            for name, column in columns.items():
                kind, omittable = column
                if (table, name) in NULL_SINCE.get(revision, ()):
                    omittable = True
                assert after[table].get(name) == (kind, omittable), (
                    f"{revision} changes {table}.{name}"
                )
            for name in after[table].keys() - columns.keys():
                assert after[table][name][1], f"{revision}: {table}.{name} needs a default"
        before = after
    assert before


def test_a_contraction_would_be_noticed(empty_database_url: str) -> None:
    """The comparison above detects a dropped column and a mandatory one."""
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
    harness = make_harness(sqlite_url, redis_of_session.url, tmp_path, PYTHONPATH=str(released))
    # The release refuses settings that it does not know.
    del harness.environment["QUIRE_WARM_MODELS"]
    imported = subprocess.run(
        [sys.executable, "-P", "-c", "import worker; print(worker.__file__)"],
        env=harness.environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert imported.startswith(str(released)), "the worker would not be the release's"
    harness.corpus(some_text())
    with harness.worker(directory=released):
        # Workers are replaced before the API, so that the old ones get specs of the old API.
        job_id = harness.train(epochs=1, wake=False)
        with make_sessions(harness.engine).begin() as session:
            job = session.get_one(Job, job_id)
            job.spec = {name: value for name, value in job.spec.items() if name not in NEW_FIELDS}
        assert harness.broker.wake("train", job_id)
        trained = harness.wait_until_succeeded(job_id)
        assert trained.model_id
        harness.wait_until_succeeded(harness.generate(trained.model_id))
    harness.engine.dispose()


@pytest.mark.parametrize(
    ("changelog", "found"),
    [
        ("# Changelog\n\n## [Unreleased]\n\nNothing was released yet.\n", None),
        ("## [Unreleased]\n\n## [0.3.0] - 2027-01-31\n\nText.\n", ("0.3.0", None)),
        (
            "## [Unreleased]\n- Mends commit 1111111.\n\n"
            "## [0.2.0] - 2026-11-26, commit `abcdef0123`\n\n## [0.1.0], commit 2222222\n",
            ("0.2.0", "abcdef0123"),
        ),
    ],
)
def test_the_changelog_names_the_newest_release(
    changelog: str, found: tuple[str, str | None] | None
) -> None:
    assert newest_release(changelog) == found


@pytest.fixture
def released(tmp_path: Path) -> Path:
    """The source of the newest release, taken from the git history."""
    release = newest_release((ROOT / "CHANGELOG.md").read_text())
    if release is None:
        pytest.skip("CHANGELOG.md names no release yet")
    version, named = release
    if shutil.which("git") is None:
        without("git is not installed")
    if git("rev-parse", "HEAD").returncode != 0:
        without("the source is not a git clone")
    commit = named if named and is_in_history(named) else commit_of_version(version)
    if commit is None:
        without(f"the history of this clone has no commit of release {version}")
    packed = tmp_path / "released.zip"
    done = git("archive", "--format=zip", f"--output={packed}", commit)
    assert done.returncode == 0, done.stderr
    path = tmp_path / "released"
    with ZipFile(packed) as archive:
        archive.extractall(path)
    return path


def newest_release(changelog: str) -> tuple[str, str | None] | None:
    """The version of the first release heading, and the commit that its line names."""
    heading = re.search(r"^## \[(\d+\.\d+\.\d+)\](.*)$", changelog, re.MULTILINE)
    if heading is None:
        return None
    commit = re.search(r"\bcommit\W+([0-9a-f]{7,40})\b", heading[2])
    return heading[1], commit[1] if commit else None


def is_in_history(commit: str) -> bool:
    """Whether HEAD descends from the commit; a rebase or a shallow clone loses it."""
    return git("merge-base", "--is-ancestor", commit, "HEAD").returncode == 0


def commit_of_version(version: str) -> str | None:
    """The commit in which pyproject.toml got the version."""
    # The oldest commit of a shallow clone seems to add every line.
    if git("rev-parse", "--is-shallow-repository").stdout.strip() == "true":
        return None
    search = f'-Sversion = "{version}"'
    commits = git("log", "--format=%H", search, "--", "pyproject.toml").stdout.split()
    return commits[-1] if commits else None


def git(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run git in the checkout."""
    return subprocess.run(
        ("git", *arguments), cwd=ROOT, capture_output=True, text=True, check=False
    )


def revisions() -> list[str]:
    """The revisions of the schema, oldest first."""
    history = ScriptDirectory(str(Path(migrations.__file__).parent))
    return [script.revision for script in reversed(list(history.walk_revisions()))]


def schema(url: str) -> dict[str, Columns]:
    """The columns of every table."""
    engine = make_engine(url)
    inspector = inspect(engine)
    found = {
        table: {column["name"]: type_and_default(column) for column in inspector.get_columns(table)}
        for table in inspector.get_table_names()
        if table != "alembic_version"
    }
    engine.dispose()
    return found


def type_and_default(column: Any) -> tuple[str, bool]:
    """The type of a column, and whether an INSERT may omit it."""
    optional = bool(column["nullable"]) or column["default"] is not None
    return str(column["type"]), optional
