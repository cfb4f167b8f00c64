"""A database, a Redis and real workers as subprocesses, for tests."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from shared.broker import Broker
from shared.database import make_engine
from shared.queue import Queue
from shared.settings import Settings
from tests.services.waiting import until
from tests.worker.factories import THREADS, TINY, JobFactory, some_text

__all__ = [
    "THREADS",
    "TINY",
    "Worker",
    "WorkerHarness",
    "continue_process",
    "make_harness",
    "some_text",
    "stop_process",
    "until",
]

READY_SECONDS = 90.0


@dataclass
class Worker:
    """A running ``python -m worker``."""

    process: subprocess.Popen[bytes]
    log_path: Path

    @property
    def log(self) -> str:
        """The log of the supervisor and its children."""
        return self.log_path.read_text(errors="replace")

    def stop(self, seconds: float = 35.0) -> float:
        """Stop it as `quire up` does. Returns how many seconds that took."""
        started = time.monotonic()
        self.process.terminate()
        self.process.wait(seconds)
        return time.monotonic() - started


@dataclass
class WorkerHarness(JobFactory):
    """Starts workers, submits jobs and reads what became of them."""

    environment: dict[str, str]
    directory: Path
    workers: int = 0

    @contextmanager
    def worker(
        self,
        devices: str = "cpu",
        host: str = "here",
        ready: bool = True,
        variables: Mapping[str, str] | None = None,
        directory: Path | None = None,
    ) -> Iterator[Worker]:
        """Run a supervisor with its workers inside the block.

        Args:
            devices: As `--devices`.
            host: As `--host-name`.
            ready: Whether to wait until all lanes are ready.
            variables: Additional environment variables.
            directory: The source tree to run; by default this one.
        """
        self.workers += 1
        log_path = self.directory / f"worker-{self.workers}.log"
        argv = [sys.executable, "-m", "worker", "--devices", devices, "--host-name", host]
        with log_path.open("wb") as output:
            process = subprocess.Popen(
                argv,
                cwd=directory,
                env={**self.environment, **(variables or {})},
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        worker = Worker(process, log_path)
        try:
            if ready:
                slots = int((variables or {}).get("QUIRE_TRAIN_SLOTS", "1"))
                count = (slots + 1) * len(devices.split(","))
                try:
                    until(
                        lambda: len([d for d in self.devices(host) if d.ready_at]) == count,
                        "workers",
                        READY_SECONDS,
                    )
                except AssertionError as error:
                    raise AssertionError(f"{error}\n{worker.log}") from None
            yield worker
        finally:
            if process.poll() is None:
                try:
                    worker.stop()
                finally:
                    process.kill()
                    process.wait()


def make_harness(
    database_url: str, redis_url: str, directory: Path, **variables: str
) -> WorkerHarness:
    """A harness on a migrated database; `variables` go into the workers' environment."""
    environment = {
        **os.environ,
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "QUIRE_DATA_DIR": str(directory / "data"),
        "QUIRE_LEASE_SECONDS": "2",
        "QUIRE_HEARTBEAT_SECONDS": "0.5",
        "QUIRE_SWEEP_SECONDS": "0.5",
        "QUIRE_TRAIN_THREADS": str(THREADS),
        # Most tests run a job or two, for which a warm-up takes longer than it saves.
        "QUIRE_WARM_MODELS": "0",
        "QUIRE_LOG_FORMAT": "json",
        **variables,
    }
    engine = make_engine(database_url)
    settings = Settings(lease_seconds=2, heartbeat_seconds=0.5, sweep_seconds=0.5)
    return WorkerHarness(engine, Queue(engine, settings), Broker(redis_url), environment, directory)


def stop_process(pid: int) -> None:
    """Freeze a process (SIGSTOP)."""
    os.kill(pid, signal.SIGSTOP)


def continue_process(pid: int) -> None:
    """Continue a frozen process (SIGCONT)."""
    os.kill(pid, signal.SIGCONT)
