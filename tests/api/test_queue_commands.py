"""`quire queue`, `usage`, `user set`, `job pause` and others, against a real server."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shared.accounts import create_key, create_user
from shared.database import make_engine, make_sessions
from tests.api.harness import ENGLISH
from tests.api.test_server import address, process

Quire = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """A command does not depend on the database."""
    return sqlite_url


@pytest.fixture
def quire(settings_env: dict[str, str], database_url: str, tmp_path: Path) -> Iterator[Quire]:
    engine = make_engine(database_url)
    with make_sessions(engine).begin() as session:
        key = create_key(session, create_user(session, "ann", "admin")).key
    engine.dispose()
    with process(settings_env, "--port", "0") as server:
        environment = {**settings_env, "QUIRE_URL": address(server), "QUIRE_KEY": key}

        def run(*arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
            argv = [sys.executable, "-m", "quire", *arguments]
            done = subprocess.run(
                argv,
                env=environment,
                capture_output=True,
                text=True,
                cwd=str(tmp_path),
                check=False,
            )
            assert done.returncode == code, done.stderr
            return done

        yield run


def test_the_printed_queue(quire: Quire, tmp_path: Path) -> None:
    book = tmp_path / "book.txt"
    book.write_text(ENGLISH, encoding="utf-8")
    options = ("train", "--corpus", str(book), "--no-wait", "--json")
    first = json.loads(quire(*options, "--name", "first").stdout)
    later = ("--after", "first", "--priority", "low", "--deadline", "60")
    second = json.loads(quire(*options, *later, "--start-before", "2999-01-01").stdout)
    assert (second["after"], second["priority"]) == (first["id"], "low")
    line = quire("queue").stdout
    assert "first" in line
    assert "ann" in line
    jobs = quire("jobs").stdout
    assert "no worker for train is up" in jobs
    assert f"after job {first['id']}" in jobs
    assert "#1" in jobs
    shown = quire("job", "show", second["id"]).stdout
    assert f"after job {first['id']}" in " ".join(shown.split())
    assert "is paused" in quire("job", "pause", "first").stderr
    assert json.loads(quire("queue", "--json").stdout)["line"] == []
    assert "is queued" in quire("job", "resume", first["id"]).stderr
    assert "is next in the queue" in quire("job", "promote", first["id"]).stderr
    assert "is next in the queue" in quire("job", "lift", first["id"]).stderr


def test_the_printed_usage_and_caps(quire: Quire) -> None:
    assert "of 1,000" in quire("usage").stdout
    set_ = quire("user", "set", "ann", "--queued", "7", "--share", "2", "--stored-bytes", "default")
    assert "of 7 (set for this user)" in set_.stdout
    assert json.loads(quire("usage", "--user", "ann", "--json").stdout)["share"] == 2
    assert "nothing to set" in quire("user", "set", "ann", code=2).stderr
    assert "--queued many: give" in quire("user", "set", "ann", "--queued", "many", code=2).stderr
    assert "user 'nobody' does not exist" in quire("usage", "--user", "nobody", code=3).stderr
