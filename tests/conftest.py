"""Fixtures for all tests: real servers, fresh databases, texts and a clean environment."""

import gc
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

#: The one setting that tests take from outside: the folder of long texts.
KEPT = frozenset({"QUIRE_CORPUS_DIR"})
KINDS = ("sqlite", "postgresql")
#: Python's own threshold is 700.
ALLOCATIONS_UNTIL_COLLECTION = 50_000


def pytest_configure() -> None:
    """Remove the caller's settings, so that no test reaches a real database.

    The garbage collector rests until all tests are collected.
    """
    for name in set(variables()) - KEPT:
        if not name.startswith("XDG_"):
            os.environ.pop(name, None)
    leftovers.mark()
    _stop_cleanly_on_sigterm()
    gc.disable()


def pytest_collection_finish() -> None:
    """Collect garbage from here on, but seldom, and skip the modules.

    They are hundreds of thousands of objects. Visiting them again and again took about a tenth of
    the CPU time of the API's tests.
    """
    gc.freeze()
    gc.set_threshold(ALLOCATIONS_UNTIL_COLLECTION)
    gc.enable()


def _stop_cleanly_on_sigterm() -> None:
    """End the run on SIGTERM as on Ctrl-C, with all servers stopped."""
    own_pid = os.getpid()

    def stop(number: int, _frame: object) -> None:
        if os.getpid() == own_pid:
            raise KeyboardInterrupt("SIGTERM")
        # A forked child inherits this handler but must die of SIGTERM as usual.
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    signal.signal(signal.SIGTERM, stop)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # A shell ignores SIGINT in background jobs; tests of Ctrl-C would inherit that.
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run that leaves processes behind, and kill them."""
    if found := leftovers.find():
        leftovers.kill(found)
        reporter = session.config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            for leftover in found:
                reporter.write_line(
                    f"left behind: process {leftover.pid}, {leftover.command}", red=True
                )
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def without(reason: str) -> NoReturn:
    """Skip a test that cannot run here; in CI, fail it instead."""
    if os.environ.get("CI"):
        pytest.fail(f"not skipped in CI: {reason}", pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server for the session."""
    with ExitStack() as stack:
        try:
            server = stack.enter_context(postgres_server())
        except ServerMissing as error:
            without(str(error))
        yield server


@pytest.fixture(scope="session")
def migrated_postgres(postgres: PostgresServer) -> Iterator[Databases]:
    """Copies of a migrated database; copying takes a tenth of the time of migrating."""
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
    """An empty, migrated database; the test runs once on SQLite and once on PostgreSQL."""
    if request.param == "sqlite":
        path = tmp_path / "quire.db"
        shutil.copyfile(request.getfixturevalue("migrated_sqlite"), path)
        yield f"sqlite:///{path}"
        return
    with request.getfixturevalue("migrated_postgres").fresh() as url:
        yield url


@pytest.fixture
def sqlite_url(migrated_sqlite: Path, tmp_path: Path) -> str:
    """An empty, migrated SQLite database, for tests that do not depend on the database."""
    return f"sqlite:///{shutil.copyfile(migrated_sqlite, tmp_path / 'quire.db')}"


@pytest.fixture(params=KINDS)
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database without tables, for tests of the migrations."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.db'}"
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    with server.database("empty") as url:
        yield url


@pytest.fixture(scope="session")
def redis_of_session() -> Iterator[RedisServer]:
    """A Redis-compatible server for the session."""
    with ExitStack() as stack:
        try:
            server = stack.enter_context(redis_server())
        except ServerMissing as error:
            without(str(error))
        yield server


@pytest.fixture
def redis_url(redis_of_session: RedisServer) -> str:
    """The address of an empty Redis."""
    redis_of_session.flush()
    return redis_of_session.url


@pytest.fixture
def settings_env(database_url: str, redis_url: str, tmp_path: Path) -> dict[str, str]:
    """The environment of a Quire process that a test starts.

    Leases last two seconds, so that a test need not wait a minute for a rescue.
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
    """Up to 500,000 characters of English from CPython: 3.11 has 465,000, 3.13 has more."""
    return "\n\n".join(topics[name] for name in sorted(topics))[:500_000]


@pytest.fixture(scope="session")
def corpus() -> Callable[[str], str]:
    """Read a named text from QUIRE_CORPUS_DIR, or skip the test if it is missing."""

    def read(name: str) -> str:
        folder = os.environ.get("QUIRE_CORPUS_DIR")
        path = Path(folder or ".", f"{name}.txt")
        if not folder or not path.exists():
            pytest.skip(f"{name}.txt is not in QUIRE_CORPUS_DIR")
        return path.read_text(encoding="utf-8")

    return read
