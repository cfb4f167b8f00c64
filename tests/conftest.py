"""Fixtures for everybody: real servers, fresh databases, texts, and a clean environment."""

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from pydoc_data.topics import topics
from typing import NoReturn

import pytest

from migrations.migrate import upgrade
from shared.settings import variables
from tests.services import leftovers
from tests.services.postgres import Databases, PostgresServer, postgres_server
from tests.services.redis import RedisServer, redis_server
from tests.services.servers import ServerMissing

#: What tests may take from outside: where the big texts lie.
KEPT = frozenset({"QUIRE_CORPUS_DIR"})
KINDS = ("sqlite", "postgresql")


def pytest_configure() -> None:
    """No setting of whoever runs the tests may reach them, a real database's address least."""
    for name in set(variables()) - KEPT:
        if not name.startswith("XDG_"):
            os.environ.pop(name, None)
    leftovers.mark()
    _stop_in_order_when_told()


def _stop_in_order_when_told() -> None:
    """Let TERM (a time limit's) end the run as Ctrl-C does: with every server stopped."""
    us = os.getpid()

    def stop(number: int, _frame: object) -> None:
        if os.getpid() == us:
            raise KeyboardInterrupt("told to stop")
        # A child that a test forked inherits this; to it TERM is what it always is.
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    signal.signal(signal.SIGTERM, stop)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # As a shell starts what runs in the background; whoever tests Ctrl-C would inherit it.
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run that leaves processes behind, and end them."""
    if found := leftovers.find():
        leftovers.end(found)
        reporter = session.config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            for each in found:
                reporter.write_line(f"left behind: {each.pid} {each.command}", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def without(reason: str) -> NoReturn:
    """Skip what can't run here; in CI nothing may be missing."""
    if os.environ.get("CI"):
        pytest.fail(f"CI must have it: {reason}", pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server of this session."""
    with ExitStack() as stack:
        try:
            server = stack.enter_context(postgres_server())
        except ServerMissing as error:
            without(str(error))
        yield server


@pytest.fixture(scope="session")
def migrated_postgres(postgres: PostgresServer) -> Iterator[Databases]:
    """Copies of one migrated database; a copy takes a tenth of what the migrations take."""
    with postgres.database("template") as url:
        upgrade(url)
        yield Databases(postgres, url.partition("?")[0].rpartition("/")[2])


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file, to be copied."""
    path = tmp_path_factory.mktemp("template") / "quire.db"
    upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture(params=KINDS)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A freshly migrated, empty database: the test runs once on each kind."""
    if request.param == "sqlite":
        path = tmp_path / "quire.db"
        shutil.copyfile(request.getfixturevalue("migrated_sqlite"), path)
        yield f"sqlite:///{path}"
        return
    with request.getfixturevalue("migrated_postgres").fresh() as url:
        yield url


@pytest.fixture
def sqlite_url(migrated_sqlite: Path, tmp_path: Path) -> str:
    """A freshly migrated SQLite alone, for what does not depend on the kind."""
    return f"sqlite:///{shutil.copyfile(migrated_sqlite, tmp_path / 'quire.db')}"


@pytest.fixture(params=KINDS)
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database without any table, for the migrations themselves."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.db'}"
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    with server.database("empty") as url:
        yield url


@pytest.fixture(scope="session")
def redis_of_session() -> Iterator[RedisServer]:
    """A Redis-compatible server of this session."""
    with ExitStack() as stack:
        try:
            server = stack.enter_context(redis_server())
        except ServerMissing as error:
            without(str(error))
        yield server


@pytest.fixture
def redis_url(redis_of_session: RedisServer) -> str:
    """The address of a Redis without any key."""
    redis_of_session.flush()
    return redis_of_session.url


@pytest.fixture
def settings_env(database_url: str, redis_url: str, tmp_path: Path) -> dict[str, str]:
    """The environment for a part of Quire that runs as a subprocess.

    A lease of two seconds, so that a test need not wait a minute for a rescue.
    """
    return {
        **os.environ,
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "QUIRE_DATA_DIR": str(tmp_path / "data"),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "QUIRE_LEASE_SECONDS": "2",
        "QUIRE_HEARTBEAT_SECONDS": "0.5",
        "QUIRE_SWEEP_SECONDS": "0.5",
        "QUIRE_LOG_FORMAT": "json",
    }


@pytest.fixture(scope="session")
def english_text() -> str:
    """About 465,000 characters of English that every CPython carries; a release may change some."""
    return "\n\n".join(topics[name] for name in sorted(topics))


@pytest.fixture(scope="session")
def corpus() -> Callable[[str], str]:
    """Read a named text of QUIRE_CORPUS_DIR; the test is skipped where it is not there."""

    def read(name: str) -> str:
        folder = os.environ.get("QUIRE_CORPUS_DIR")
        path = Path(folder or ".", f"{name}.txt")
        if not folder or not path.exists():
            pytest.skip(f"{name}.txt is not in QUIRE_CORPUS_DIR")
        return path.read_text(encoding="utf-8")

    return read
