"""Start the whole server as child processes: Redis, migrations, the API and the workers.

This module needs the extra `server`, so commands import it only where they use it.
"""

import errno
import os
import socket
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import select

from quire.client import Client
from quire.errors import CannotStart
from quire.server import embedded_redis
from quire.server.data_dir import DataDirLock
from quire.server.local_accounts import first_admin_key, sign_in_link
from shared.clock import database_now
from shared.database import make_engine, reading
from shared.process.log_files import LogLimits, rotate_all
from shared.process.python_module import python_module
from shared.process.supervisor import Child, ProcessSupervisor
from shared.settings import Settings
from shared.tables import KINDS, Device

REDIS_READY_SECONDS = 60.0
API_READY_SECONDS = 60.0
#: Covers loading TensorFlow and building the first graph.
WORKER_READY_SECONDS = 300.0
#: A training saves a checkpoint before it stops.
WORKER_GRACE_SECONDS = 60.0
API_GRACE_SECONDS = 35.0
REDIS_GRACE_SECONDS = 15.0
#: How long the children of a killed `quire up` may take to exit.
ORPHANS_EXIT_SECONDS = 20.0
#: Settings of the client, which the server's processes do not get.
CLIENT_VARIABLES = ("QUIRE_URL", "QUIRE_KEY")

#: Called with a part's name, and with a description once the part is ready (before: "").
Report = Callable[[str, str], None]


@dataclass(frozen=True, slots=True)
class Stack:
    """A running server.

    Attributes:
        url: The address of the API, as seen from this machine.
        admin_key: The key of the first admin, if one was just created.
        sign_in_link: Opens the page signed in as an admin, once; None if there is no admin.
    """

    url: str
    admin_key: str | None
    sign_in_link: str | None


def start(
    supervisor: ProcessSupervisor,
    settings: Settings,
    lock: DataDirLock,
    report: Report,
    *,
    make_admin: bool,
) -> Stack:
    """Start the parts in order, and wait for each to become ready.

    Args:
        supervisor: Supervises the children.
        settings: The settings; the children get them through their environment.
        lock: The lock of the data directory.
        report: Called when a part is being started and when it is ready.
        make_admin: Whether to create an admin with a key if there is no user yet.

    Raises:
        StartFailed: A part exited or did not become ready in time.
        StopRequested: A signal asked for a stop.
        CannotStart: Something that a part needs is missing.
    """
    logs, limits = settings.data_dir / "logs", log_limits(settings)
    environment = _environment(settings)
    url, port = _wait_for_port(settings, lock)
    environment["QUIRE_API_PORT"] = str(port)
    if settings.redis_url is None:
        embedded = embedded_redis.prepare(settings.data_dir, settings.runtime_dir)
        _wait_while(embedded.is_ready, "the Redis server of the last `quire up` is still running")
        environment["REDIS_URL"] = embedded.url
        report("redis", "")
        supervisor.start(
            Child(
                "redis",
                embedded.argv,
                ready=embedded.is_ready,
                ready_seconds=REDIS_READY_SECONDS,
                grace_seconds=REDIS_GRACE_SECONDS,
                log_path=logs / "redis.log",
                log_limits=limits,
            )
        )
        report("redis", f"{embedded.program} on a private socket")
    else:
        report("redis", "external, from REDIS_URL")
    report("database", "")
    supervisor.complete(
        Child(
            "migrate",
            python_module("migrations"),
            environment,
            log_path=logs / "migrate.log",
            log_limits=limits,
        )
    )
    report("database", _database_name(settings))
    report("api", "")
    supervisor.start(
        Child(
            "api",
            python_module("api"),
            environment,
            ready=lambda: _answers(url),
            ready_seconds=API_READY_SECONDS,
            grace_seconds=API_GRACE_SECONDS,
            log_path=logs / "api.log",
            log_limits=limits,
        )
    )
    report("api", url)
    report("workers", "")
    workers = _Workers(settings)
    supervisor.start(
        Child(
            "workers",
            python_module("worker"),
            environment,
            ready=workers.are_ready,
            ready_seconds=WORKER_READY_SECONDS,
            grace_seconds=WORKER_GRACE_SECONDS,
            log_path=logs / "workers.log",
            log_limits=limits,
        )
    )
    report("workers", workers.names())
    lock.write(url)
    # Last, so that nothing can fail between creating the key and showing it: it is stored nowhere.
    admin_key = first_admin_key(settings) if make_admin else None
    return Stack(url, admin_key, sign_in_link(settings, url) if make_admin else None)


def log_limits(settings: Settings) -> LogLimits:
    """How large the parts' log files may be, and how many older ones are kept."""
    return LogLimits(settings.log_file_bytes, settings.log_files)


def rotate_logs(settings: Settings) -> None:
    """Rotate the parts' log files that have become too large."""
    rotate_all(settings.data_dir.glob("logs/*.log"), log_limits(settings))


class _Workers:
    """This host's workers, as they registered themselves in the database."""

    def __init__(self, settings: Settings) -> None:
        self._engine = make_engine(settings.database)
        self._host = settings.host_name
        with reading(self._engine) as connection:
            self._since = database_now(connection)

    def are_ready(self) -> bool:
        """Whether all lanes of every registered device are ready for a job."""
        devices = self._registered()
        return {device.lane for device in devices} == set(KINDS) and all(
            device.ready_at is not None for device in devices
        )

    def names(self) -> str:
        """List the lanes of each device, as ``cpu: train, generate`` or ``cpu: 2 × train, …``."""
        lanes: dict[str, list[str]] = {}
        for device in self._registered():
            lanes.setdefault(device.gpu_name or device.device, []).append(device.lane)
        return " · ".join(
            f"{device}: {', '.join(_counted(sorted(names, reverse=True)))}"
            for device, names in sorted(lanes.items())
        )

    def _registered(self) -> list["_RegisteredDevice"]:
        query = select(Device.lane, Device.device, Device.gpu_name, Device.ready_at).where(
            Device.host == self._host, Device.started_at >= self._since
        )
        with reading(self._engine) as connection:
            return [_RegisteredDevice(*row) for row in connection.execute(query)]


def _counted(names: list[str]) -> list[str]:
    return [name if count == 1 else f"{count} × {name}" for name, count in Counter(names).items()]


@dataclass(frozen=True, slots=True)
class _RegisteredDevice:
    lane: str
    device: str
    gpu_name: str | None
    ready_at: datetime | None


def _environment(settings: Settings) -> dict[str, str]:
    """This process's variables, and the settings that command-line options may have changed."""
    inherited = {name: value for name, value in os.environ.items() if name not in CLIENT_VARIABLES}
    inherited.pop("DATABASE_PASSWORD_FILE", None)  # DATABASE_URL below has the password
    return inherited | {
        "QUIRE_DATA_DIR": str(settings.data_dir),
        "QUIRE_API_HOST": settings.api_host,
        "QUIRE_DEVICES": settings.devices,
        "DATABASE_URL": settings.database,
        "PYTHONUNBUFFERED": "1",
    }


def _wait_for_port(settings: Settings, lock: DataDirLock) -> tuple[str, int]:
    """Wait until the API's port is free, and return its address and port; 0 means any port.

    Raises:
        CannotStart: Another program uses the port, or the address is not this machine's.
    """
    host, port = settings.api_host, settings.api_port or _free_port(settings.api_host)
    deadline = time.monotonic() + (ORPHANS_EXIT_SECONDS if lock.was_killed else 0)
    while (problem := _port_problem(host, port)) is not None:
        if problem != errno.EADDRINUSE:
            raise CannotStart(
                f"can't listen on --host {host} --port {port}: {os.strerror(problem)}"
            )
        if time.monotonic() >= deadline:
            raise CannotStart(f"port {port} is in use by another program: give another --port")
        time.sleep(0.2)
    shown = "127.0.0.1" if host in {"0.0.0.0", "::"} else host  # noqa: S104  # compared, not bound
    return (f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"), port


def _free_port(host: str) -> int:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def _port_problem(host: str, port: int) -> int | None:
    """Return the errno of an attempt to listen on the port, or None if it succeeded."""
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


def _wait_while(condition: Callable[[], bool], problem: str) -> None:
    deadline = time.monotonic() + ORPHANS_EXIT_SECONDS
    while condition():
        if time.monotonic() > deadline:
            raise CannotStart(f"{problem}: stop it first")
        time.sleep(0.2)


def _answers(url: str) -> bool:
    with Client.anonymous(url) as client:
        return client.is_alive()


def _database_name(settings: Settings) -> str:
    if settings.database.startswith("sqlite"):
        return str(Path(settings.database.removeprefix("sqlite:///")))
    return "PostgreSQL, from DATABASE_URL"
