"""The whole server as child processes: Redis, migrations, the API, the workers.

This module needs the extra `server`, so commands import it only where they use it.
"""

import errno
import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import select

from quire.client import ApiError, Client
from quire.errors import CannotStart, ServerUnreachable
from quire.server import embedded_redis
from quire.server.data_dir import Lock
from quire.server.local_accounts import first_admin_key
from quire.server.parts import part_command
from shared.clock import database_now
from shared.database import make_engine, reading
from shared.process.supervisor import Child, ProcessSupervisor
from shared.settings import Settings
from shared.tables import KINDS, Device

REDIS_READY_SECONDS = 60.0
API_READY_SECONDS = 60.0
#: TensorFlow loads and builds its first graph.
WORKER_READY_SECONDS = 300.0
#: A training that is told to stop saves a checkpoint first.
WORKER_GRACE_SECONDS = 60.0
API_GRACE_SECONDS = 35.0
REDIS_GRACE_SECONDS = 15.0
#: How long the parts of a killed `quire up` may take to end.
LEFTOVERS_SECONDS = 20.0
#: What a server's process has no need to know.
CLIENT_VARIABLES = ("QUIRE_URL", "QUIRE_KEY")

Told = Callable[[str, str], None]


@dataclass(frozen=True, slots=True)
class Stack:
    """What runs, once `start` returned.

    Attributes:
        url: The API's address, for people on this machine.
        admin_key: The first admin's key, the first time.
    """

    url: str
    admin_key: str | None


def start(
    supervisor: ProcessSupervisor, settings: Settings, lock: Lock, told: Told, *, make_admin: bool
) -> Stack:
    """Start everything in order, each part awaited.

    Args:
        supervisor: Takes the children.
        settings: Of this process; the children get them through their environment.
        lock: Of the data directory.
        told: Called with a part's name, and with what is to be said once it is ready.
        make_admin: Whether to make an admin with a key where there is no user yet.

    Raises:
        StartFailed: A part ended or stayed unready.
        StopRequested: A signal came.
        CannotStart: Something that a part needs is not there.
    """
    logs = settings.data_dir / "logs"
    environment = _environment(settings)
    url, port = _wait_for_port(settings, lock)
    environment["QUIRE_API_PORT"] = str(port)
    if settings.redis_url is None:
        embedded = embedded_redis.prepare(settings.data_dir, settings.runtime_dir)
        _wait_while(embedded.is_ready, "the Redis server of the last `quire up` still runs")
        environment["REDIS_URL"] = embedded.url
        told("redis", "")
        supervisor.start(
            Child(
                "redis",
                embedded.argv,
                ready=embedded.is_ready,
                ready_seconds=REDIS_READY_SECONDS,
                grace_seconds=REDIS_GRACE_SECONDS,
                log_path=logs / "redis.log",
            )
        )
        told("redis", f"{embedded.program} on a private socket")
    else:
        told("redis", "as REDIS_URL says")
    told("database", "")
    supervisor.complete(
        Child("migrate", part_command("migrations"), environment, log_path=logs / "migrate.log")
    )
    told("database", _database_name(settings))
    told("api", "")
    supervisor.start(
        Child(
            "api",
            part_command("api"),
            environment,
            ready=lambda: _answers(url),
            ready_seconds=API_READY_SECONDS,
            grace_seconds=API_GRACE_SECONDS,
            log_path=logs / "api.log",
        )
    )
    told("api", url)
    told("workers", "")
    workers = _Workers(settings)
    supervisor.start(
        Child(
            "workers",
            part_command("worker"),
            environment,
            ready=workers.are_ready,
            ready_seconds=WORKER_READY_SECONDS,
            grace_seconds=WORKER_GRACE_SECONDS,
            log_path=logs / "workers.log",
        )
    )
    told("workers", workers.names())
    lock.write(url)
    # Last, so that a key that was made is also shown: it exists nowhere else.
    return Stack(url, first_admin_key(settings) if make_admin else None)


class _Workers:
    """This host's workers as they show themselves in the database."""

    def __init__(self, settings: Settings) -> None:
        self._engine = make_engine(settings.database)
        self._host = settings.host_name
        with reading(self._engine) as connection:
            self._since = database_now(connection)

    def are_ready(self) -> bool:
        """Whether both lanes of every device that showed itself are ready for a job."""
        found = self._fresh()
        return {device.lane for device in found} == set(KINDS) and all(
            device.ready_at is not None for device in found
        )

    def names(self) -> str:
        """``cpu: train, generate``."""
        lanes: dict[str, list[str]] = {}
        for device in self._fresh():
            lanes.setdefault(device.gpu_name or device.device, []).append(device.lane)
        return " · ".join(
            f"{device}: {', '.join(sorted(names, reverse=True))}"
            for device, names in sorted(lanes.items())
        )

    def _fresh(self) -> list["_Shown"]:
        query = select(Device.lane, Device.device, Device.gpu_name, Device.ready_at).where(
            Device.host == self._host, Device.started_at >= self._since
        )
        with reading(self._engine) as connection:
            return [_Shown(*row) for row in connection.execute(query)]


@dataclass(frozen=True, slots=True)
class _Shown:
    lane: str
    device: str
    gpu_name: str | None
    ready_at: datetime | None


def _environment(settings: Settings) -> dict[str, str]:
    """This process's variables, with the settings that options changed."""
    inherited = {name: value for name, value in os.environ.items() if name not in CLIENT_VARIABLES}
    return inherited | {
        "QUIRE_DATA_DIR": str(settings.data_dir),
        "QUIRE_API_HOST": settings.api_host,
        "QUIRE_DEVICES": settings.devices,
        "DATABASE_URL": settings.database,
        "PYTHONUNBUFFERED": "1",
    }


def _wait_for_port(settings: Settings, lock: Lock) -> tuple[str, int]:
    """The API's address and port, once the port is free; for port 0, any that is.

    Raises:
        CannotStart: Something else listens there, or the address is not this machine's.
    """
    host, port = settings.api_host, settings.api_port or _free_port(settings.api_host)
    deadline = time.monotonic() + (LEFTOVERS_SECONDS if lock.was_killed else 0)
    while (problem := _port_problem(host, port)) is not None:
        if problem != errno.EADDRINUSE:
            raise CannotStart(
                f"can't listen on --host {host} --port {port}: {os.strerror(problem)}"
            )
        if time.monotonic() >= deadline:
            raise CannotStart(f"port {port} is taken by another program: give another --port")
        time.sleep(0.2)
    shown = "127.0.0.1" if host in {"0.0.0.0", "::"} else host  # noqa: S104  # compared, not bound
    return (f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"), port


def _free_port(host: str) -> int:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def _port_problem(host: str, port: int) -> int | None:
    """Why the port can't be listened on, as an errno, or None."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except socket.gaierror:
            return errno.EADDRNOTAVAIL
        except OSError as error:
            return error.errno
    return None


def _wait_while(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + LEFTOVERS_SECONDS
    while condition():
        if time.monotonic() > deadline:
            raise CannotStart(f"{what}: stop it first")
        time.sleep(0.2)


def _answers(url: str) -> bool:
    try:
        with Client(url) as client:
            return client.is_alive()
    except (ServerUnreachable, ApiError):
        return False


def _database_name(settings: Settings) -> str:
    if settings.database.startswith("sqlite"):
        return str(Path(settings.database.removeprefix("sqlite:///")))
    return "PostgreSQL, as DATABASE_URL says"
