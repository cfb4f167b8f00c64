"""Every command of docs/operations.md runs, as it is written there."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import psycopg
import pytest
from sqlalchemy import select

from migrations.migrate import upgrade
from quire.main import run
from shared.accounts import create_user
from shared.database import make_engine, make_sessions
from shared.tables import User
from tests.conftest import without
from tests.quire.conftest import Served, served  # noqa: F401  # a fixture
from tests.services.postgres import PostgresServer, programs

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/operations.md").read_text()
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
#: The commands of Quire within the text.
INLINE = sorted(set(re.findall(r"`(quire [^`]+)`", " ".join(PAGE.split()))))
#: How the blocks begin, each of which a test below runs.
BACKUP, RESTORE, MOVE, METRICS = (
    *("mkdir -p backups", "quire restore", "quire backup move", "(umask 077"),
)
COMPOSE = "docker compose exec -T postgres"
POSTGRES = [("pg_dump", "pg_restore"), (f"{COMPOSE} pg_dump", f"{COMPOSE} pg_restore")]
#: `docker compose exec -T postgres …` without Docker: the client's programs on the test's server.
DOCKER = """#!/bin/sh
[ "$1 $2 $3 $4" = "compose exec -T postgres" ] || exit 64
shift 4
for word in "$@"; do
    shift
    case "$word" in
        --username=quire) ;;
        --dbname=quire) set -- "$@" "--dbname=$DATABASE_URL" ;;
        *) set -- "$@" "$word" ;;
    esac
done
exec "$@"
"""


def block(start: str) -> str:
    """The one block of commands that begins so."""
    [found] = [each for each in BLOCKS if each.startswith(start)]
    return found


def run_block(start: str, environment: dict[str, str], directory: Path) -> None:
    done = subprocess.run(
        ["sh", "-euc", block(start)],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def add(url: str, name: str) -> None:
    engine = make_engine(url)
    with make_sessions(engine).begin() as session:
        create_user(session, name)
    engine.dispose()


def names(url: str) -> list[str]:
    engine = make_engine(url)
    with make_sessions(engine)() as session:
        found = sorted(session.scalars(select(User.name)))
    engine.dispose()
    return found


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The variables of an operator's shell, whose home is the test's."""
    return {**os.environ, "HOME": str(tmp_path)}


@pytest.fixture
def client_programs(postgres: PostgresServer, tmp_path: Path) -> Path:
    """A folder with `pg_dump` and `pg_restore` that are not older than the server, and `docker`."""
    with psycopg.connect(postgres.url) as connection:
        server = connection.info.server_version // 10_000
    for place in programs():
        if (place / "pg_dump").exists() and major(place / "pg_dump") >= server:
            break
    else:
        without(f"there is no pg_dump of PostgreSQL {server} or newer")
    folder = tmp_path / "programs"
    folder.mkdir()
    for name in ("pg_dump", "pg_restore"):
        (folder / name).symlink_to(place / name)
    (folder / "docker").write_text(DOCKER)
    (folder / "docker").chmod(0o755)
    return folder


def major(program: Path) -> int:
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    found = re.search(r"\) (\d+)", done.stdout)
    assert found is not None, done.stdout
    return int(found[1])


@pytest.fixture
def postgres_url(postgres: PostgresServer) -> Iterator[str]:
    with postgres.database("operations") as url:
        upgrade(url)
        yield url


def test_every_block_is_run_by_a_test() -> None:
    run_here = (BACKUP, RESTORE, MOVE, METRICS, *(start for pair in POSTGRES for start in pair))
    # tests/packaging/test_compose.py runs the one that moves passwords.
    others = [each for each in BLOCKS if "make-secrets" not in each]
    assert sorted(map(block, run_here)) == sorted(others)


@pytest.fixture
def with_quire(environment: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """The variables of a shell that finds `quire`."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "quire"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -P -m quire "$@"\n')
    program.chmod(0o755)
    return environment | {"PATH": f"{folder}:{environment['PATH']}"}


def test_a_server_is_backed_up_and_restored(with_quire: dict[str, str], tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/.quire/quire.db"
    upgrade(url)
    (tmp_path / "backups").mkdir()
    old = tmp_path / "backups/old.backup"
    old.touch()
    os.utime(old, (0, 0))
    add(url, "before")
    # A server that runs: its last changes are in the write-ahead log alone.
    engine = make_engine(url)
    with engine.connect():
        add(url, "last")
        run_block(BACKUP, with_quire, tmp_path)
        add(url, "after")
    engine.dispose()
    assert not old.exists()
    run_block(RESTORE, with_quire, tmp_path)
    assert names(f"sqlite:///{tmp_path}/restored/quire.db") == ["before", "last"]


def test_a_server_moves_to_postgresql(
    postgres: PostgresServer, with_quire: dict[str, str], tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/.quire/quire.db"
    upgrade(url)
    add(url, "ada")
    with postgres.database("moved") as new:
        run_block(MOVE, with_quire | {"NEW_DATABASE_URL": new}, tmp_path)
        assert names(new) == ["ada"]


def test_a_key_for_prometheus(
    served: Served,  # noqa: F811
    with_quire: dict[str, str],
    tmp_path: Path,
) -> None:
    root = served.world.person("root", "admin")
    environment = with_quire | {"QUIRE_URL": served.url, "QUIRE_KEY": root.key}
    run_block(METRICS, environment, tmp_path)
    assert (tmp_path / "prometheus.key").stat().st_mode & 0o777 == 0o600
    key = (tmp_path / "prometheus.key").read_text().strip()
    answer = httpx2.get(
        f"{served.url}/metrics", headers={"Authorization": f"Bearer {key}"}, trust_env=False
    )
    assert "quire_jobs{" in answer.text


@pytest.mark.parametrize(("dump", "restore"), POSTGRES)
def test_postgresql_is_backed_up_and_restored(
    dump: str,
    restore: str,
    postgres_url: str,
    client_programs: Path,
    environment: dict[str, str],
    tmp_path: Path,
) -> None:
    environment |= {
        "DATABASE_URL": postgres_url,
        "PATH": f"{client_programs}:{environment['PATH']}",
    }
    add(postgres_url, "before")
    run_block(dump, environment, tmp_path)
    add(postgres_url, "after")
    run_block(restore, environment, tmp_path)
    assert names(postgres_url) == ["before"]
    upgrade(postgres_url)


def test_a_backup_is_restored_to_an_empty_database(
    postgres: PostgresServer,
    postgres_url: str,
    client_programs: Path,
    environment: dict[str, str],
    tmp_path: Path,
) -> None:
    environment |= {"PATH": f"{client_programs}:{environment['PATH']}"}
    add(postgres_url, "before")
    run_block("pg_dump", environment | {"DATABASE_URL": postgres_url}, tmp_path)
    with postgres.database("new") as url:
        run_block("pg_restore", environment | {"DATABASE_URL": url}, tmp_path)
        assert names(url) == ["before"]


def test_the_commands_in_the_text_exist(capsys: pytest.CaptureFixture[str]) -> None:
    assert len(INLINE) > 8
    for words in map(str.split, INLINE):
        options = [word for word in words if word.startswith("--")]
        named = [word for word in words[1:] if re.fullmatch("[a-z]+", word)]
        assert run([*named, "--help"]) == 0, words
        shown = capsys.readouterr().out
        assert [option for option in options if option not in shown] == [], words


def test_migrate_and_the_health_check(settings_env: dict[str, str]) -> None:
    assert "`quire migrate`" in PAGE
    migrate = [sys.executable, "-P", "-m", "quire", "migrate"]
    subprocess.run(migrate, env=settings_env, capture_output=True, check=True)
    assert "`python -P -m worker.health`" in PAGE
    done = subprocess.run(
        [sys.executable, "-P", "-m", "worker.health"],
        env=settings_env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (
        1,
        "no live worker on this host for: generate, train\n",
    )


@pytest.mark.parametrize("command", ["devices", "queue"])
def test_what_to_watch(
    command: str,
    served: Served,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert f"`quire {command}`" in PAGE
    assert run([command]) == 0
    assert "worker" in capsys.readouterr().err


def test_the_addresses_to_watch_exist(served: Served) -> None:  # noqa: F811
    paths = re.findall(r"`GET (/[\w/]+)`", PAGE)
    assert len(paths) == 4
    known = {str(rule) for rule in served.world.app.url_map.iter_rules()}
    assert set(paths) <= known
