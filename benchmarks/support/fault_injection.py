"""A complete Quire of real processes with fault injection, for benchmarks/classroom.py."""

import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Self

import httpx2
import psutil
from sqlalchemy import Engine

from benchmarks.support.link import Link, second_machine
from migrations.migrate import upgrade
from shared import accounts
from shared.database import make_engine, make_sessions
from shared.process.python_module import python_module
from shared.worker_registry import ready_workers
from tests.faults.parts import Redis
from tests.services.postgres import Cluster, cluster
from tests.services.servers import short_directory

DEVICES = ("cpu:0", "cpu:1")
#: The supervisors, each with its host name and devices: on one machine, and on two.
HOSTS = {"worker": ("class", ",".join(DEVICES))}
HOSTS_OF_TWO = {"worker": ("here", DEVICES[0]), "worker there": ("there", DEVICES[1])}
QUANTUM_SECONDS = 10.0
START_SECONDS = 120.0
FROZEN_SECONDS = 4.0
#: Longer than a lease.
CUT_SECONDS = 10.0
#: One core per device, and short leases.
SETTINGS = {
    "QUIRE_LEASE_SECONDS": "6",
    "QUIRE_HEARTBEAT_SECONDS": "1",
    "QUIRE_SWEEP_SECONDS": "1",
    "QUIRE_QUANTUM_SECONDS": str(QUANTUM_SECONDS),
    "QUIRE_TRAIN_THREADS": "1",
    "QUIRE_TRAIN_SHARDS": "1",
    "QUIRE_LOG_LEVEL": "warning",
}


class Deployment:
    """PostgreSQL, Redis, the API and the workers, restarted as an init system would.

    Args:
        own: The running PostgreSQL.
        redis: The running Redis.
        directory: The directory of the logs.
        link: The link to the machine that runs half of the workers; None if all are on this one.
    """

    def __init__(self, own: Cluster, redis: Redis, directory: Path, link: Link | None) -> None:
        self._cluster, self._redis, self._directory, self._link = own, redis, directory, link
        self._hosts = HOSTS if link is None else HOSTS_OF_TWO
        self._postgres = own.serve()
        self._postmaster = self._postgres.__enter__()
        upgrade(own.url)
        self.engine: Engine = make_engine(own.url)
        port = _free_port()
        self.url = f"http://127.0.0.1:{port}"
        foreign = {name for name in os.environ if name.startswith("QUIRE_")}
        self._environment = {k: v for k, v in os.environ.items() if k not in foreign} | {
            "DATABASE_URL": own.url,
            "REDIS_URL": redis.url,
            "QUIRE_DATA_DIR": str(directory),
            "QUIRE_API_PORT": str(port),
            **SETTINGS,
        }
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    @classmethod
    @contextmanager
    def open(cls, directory: Path, *, two_machines: bool = False) -> Iterator[Self]:
        """Start everything, and stop it at the end.

        Raises:
            LinkRefused: A second machine can't be simulated here.
        """
        with ExitStack() as stack:
            link = stack.enter_context(second_machine()) if two_machines else None
            address = link.address if link else ""
            redis = Redis(stack.enter_context(short_directory("redis")), address)
            own = stack.enter_context(cluster(address))
            stack.callback(redis.kill)
            redis.start()
            deployment = cls(own, redis, directory, link)
            stack.callback(deployment._close)
            deployment.start_missing()
            _until(deployment._is_ready, "the workers and the API")
            yield deployment

    def add_users(self, count: int) -> list[str]:
        """Add users and return a key of each."""
        with make_sessions(self.engine).begin() as session:
            users = [accounts.create_user(session, f"user-{i}") for i in range(count)]
            session.flush()
            return [accounts.create_key(session, user).key for user in users]

    def start_missing(self) -> None:
        """Start the processes that do not run."""
        argvs = {"api": python_module("api")} | {
            name: (
                *self._enter(name),
                *python_module("worker", "--devices", devices, "--host-name", host),
            )
            for name, (host, devices) in self._hosts.items()
        }  # fmt: skip
        for name, argv in argvs.items():
            process = self._processes.get(name)
            if process is not None and process.poll() is None:
                continue
            with (self._directory / f"{name}.log").open("ab") as log:
                self._processes[name] = subprocess.Popen(
                    argv,
                    env=self._environment,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )

    def inject_fault(self, dice: random.Random) -> str:
        """Inject a random fault, restart what does not recover itself, and name the fault."""
        worker = dice.choice(list(self._hosts))
        faults: list[tuple[str, Callable[[random.Random], None]]] = [
            ("a child of a worker is killed", lambda d: _kill(d.choice(self._children()))),
            ("a worker's main process is killed", lambda d: _kill(d.choice(self._mains()))),
            ("the supervisor is killed", lambda _: self._kill(worker)),
            ("the API is killed", lambda _: self._kill("api")),
            ("the supervisor gets SIGTERM", lambda _: self._processes[worker].terminate()),
            ("a child of a worker is frozen", lambda d: _freeze(d.choice(self._children()))),
            ("Redis is killed", lambda _: self._restart_redis()),
            ("Redis is wiped", lambda _: self._wipe_redis()),
            ("PostgreSQL stops at once", lambda _: self._restart_postgres()),
        ]
        name, fault = dice.choice(faults)
        # The target may just have died of the previous fault.
        with suppress(IndexError, psutil.NoSuchProcess):
            fault(dice)
        with suppress(subprocess.TimeoutExpired):
            if "supervisor" in name:
                self._processes[worker].wait(35)
        self.start_missing()
        return name

    def cut_link(self) -> str:
        """Cut the link between the machines for a while; name the fault."""
        assert self._link is not None
        self._link.cut()
        time.sleep(CUT_SECONDS)
        self._link.restore()
        return f"the link between the machines is cut for {CUT_SECONDS:g} s"

    def _enter(self, name: str) -> tuple[str, ...]:
        return self._link.enter if self._link is not None and "there" in name else ()

    def _mains(self) -> list[psutil.Process]:
        return [
            main
            for name in self._hosts
            for main in psutil.Process(self._processes[name].pid).children()
        ]

    def _children(self) -> list[psutil.Process]:
        return [
            child
            for main in self._mains()
            for child in main.children()
            if "(child)" in " ".join(child.cmdline())
        ]

    def _kill(self, name: str) -> None:
        for process in (psutil.Process(self._processes[name].pid),):
            children = process.children() if name == "api" else []
            for one in (process, *children):
                one.kill()
        self._processes[name].wait()

    def _restart_redis(self) -> None:
        self._redis.kill()
        time.sleep(1)
        self._redis.start()

    def _wipe_redis(self) -> None:
        with self._redis.client() as client:
            client.flushall()

    def _restart_postgres(self) -> None:
        self._postmaster.send_signal(signal.SIGQUIT)
        self._postmaster.wait()
        self._postgres.__exit__(None, None, None)
        time.sleep(1)
        self._postgres = self._cluster.serve()
        self._postmaster = self._postgres.__enter__()

    def _is_ready(self) -> bool:
        lanes = {
            f"{host}/{device}/{lane}"
            for host, devices in self._hosts.values()
            for device in devices.split(",")
            for lane in ("train", "generate")
        }
        with suppress(httpx2.HTTPError):
            live = httpx2.get(f"{self.url}/health/live", trust_env=False).status_code == 200
            return live and ready_workers(self.engine, lanes) == lanes
        return False

    def _close(self) -> None:
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(40)
            process.kill()
            process.wait()
        self.engine.dispose()
        self._postgres.__exit__(None, None, None)


def _kill(process: psutil.Process) -> None:
    process.kill()


def _freeze(process: psutil.Process) -> None:
    process.suspend()
    time.sleep(FROZEN_SECONDS)
    process.resume()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _until(look: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not look():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what}: not within {START_SECONDS:g} s")
        time.sleep(0.2)
