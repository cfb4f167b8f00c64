"""The two job systems that benchmarks/faults.py compares, behind one small interface."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from typing_extensions import override

from benchmarks.peers import plain_celery
from migrations.migrate import upgrade
from shared.specs.presets import resolve_train
from tests.faults.parts import FAULT, Redis
from tests.worker.harness import THREADS, TINY, WorkerHarness, make_harness, some_text

#: A training that outlasts the grace period of a shutdown.
EPOCHS = 250


class JobSystem:
    """A job system: starts workers, submits trainings and reports on them."""

    name: str

    def __init__(self, redis: Redis, folder: Path) -> None:
        self.redis, self.folder = redis, folder

    def worker(self) -> Any:
        """Run a worker; a context manager of its process."""
        raise NotImplementedError

    def train(self, name: str = "train", epochs: int = EPOCHS) -> str:
        """Submit a training; return the id of its job."""
        raise NotImplementedError

    def runs(self, job_id: str) -> int:
        """Count the starts of a job."""
        raise NotImplementedError

    def result(self, job_id: str) -> str | None:
        """Return the digest of a successful training, or the reason of its failure."""
        raise NotImplementedError

    def epochs(self, job_id: str) -> int:
        """Count the checkpoints of a training."""
        raise NotImplementedError

    def child(self, worker: subprocess.Popen[bytes]) -> int:
        """Return the process in which trainings run."""
        raise NotImplementedError


class QuireSystem(JobSystem):
    """Quire on SQLite, with a lease of 2 s and a sweep each 0.5 s."""

    name = "Quire"

    def __init__(self, redis: Redis, folder: Path) -> None:
        super().__init__(redis, folder)
        url = f"sqlite:///{folder / 'quire.db'}"
        upgrade(url)
        self.world: WorkerHarness = make_harness(url, redis.url, folder, QUIRE_FAILPOINT=FAULT)

    @override
    @contextmanager
    def worker(self) -> Iterator[subprocess.Popen[bytes]]:
        with self.world.worker(host=f"host-{os.urandom(2).hex()}") as worker:
            yield worker.process

    @override
    def train(self, name: str = "train", epochs: int = EPOCHS) -> str:
        prefix = FAULT if name == "poison" else ""
        job_id = self.world.train(epochs=epochs, name=prefix + name, wake=False)
        self.world.broker.wake("train", job_id)
        return job_id

    @override
    def runs(self, job_id: str) -> int:
        return self.world.count(job_id, "claimed")

    @override
    def result(self, job_id: str) -> str | None:
        job = self.world.job(job_id)
        if job.status == "succeeded":
            return self.world.checkpoints(job_id)[-1].digest
        return job.error["title"] if job.error else None

    @override
    def epochs(self, job_id: str) -> int:
        return len(self.world.checkpoints(job_id))

    @override
    def child(self, worker: subprocess.Popen[bytes]) -> int:
        return _last_child(worker.pid, "train")


class CelerySystem(JobSystem):
    """Plain Celery; see benchmarks/peers/plain_celery.py."""

    name = "Celery alone"

    def __init__(self, redis: Redis, folder: Path) -> None:
        super().__init__(redis, folder)
        self.app = plain_celery.make_app(redis.url)
        self.visibility = plain_celery.VISIBILITY_SECONDS

    @override
    @contextmanager
    def worker(self) -> Iterator[subprocess.Popen[bytes]]:
        environment = os.environ | {
            "REDIS_URL": self.redis.url,
            plain_celery.FOLDER: str(self.folder),
            plain_celery.VISIBILITY: str(self.visibility),
            "QUIRE_TRAIN_THREADS": str(THREADS),
        }
        log = self.folder / f"worker-{os.urandom(2).hex()}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                plain_celery.command(), env=environment, stdout=output, stderr=output
            )
        family: list[psutil.Process] = []
        try:
            until(lambda: b" ready." in log.read_bytes(), "a worker of Celery's")
            family = psutil.Process(process.pid).children(recursive=True)
            yield process
        finally:
            process.kill()
            process.wait()
            for one in family:
                if one.is_running():
                    one.kill()

    @override
    def train(self, name: str = "train", epochs: int = EPOCHS) -> str:
        task = f"plain.{name}"
        numbers = TINY | {"epochs": epochs}
        spec = resolve_train("default", numbers, seed=1, threads=THREADS, shards=1)
        arguments = (some_text(), spec.model_dump()) if name == "train" else ()
        return str(self.app.send_task(task, arguments, queue="train").id)

    @override
    def runs(self, job_id: str) -> int:
        return self._log().count(f"train {job_id}\n") + self._log().count(f"poison {job_id}\n")

    @override
    def result(self, job_id: str) -> str | None:
        found = self.app.AsyncResult(job_id)
        return str(found.result) if found.ready() else None

    @override
    def epochs(self, job_id: str) -> int:
        return self._log().count(f"epoch {job_id} ")

    @override
    def child(self, worker: subprocess.Popen[bytes]) -> int:
        return _last_child(worker.pid, "")

    def _log(self) -> str:
        path = self.folder / "ran.log"
        return path.read_text() if path.exists() else ""


def until(look: Callable[[], Any], what: str, seconds: float = 90.0) -> None:
    """Poll until a condition holds.

    Raises:
        RuntimeError: It did not hold in time.
    """
    deadline = time.monotonic() + seconds
    while not look():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what}: not within {seconds:g} s")
        time.sleep(0.05)


def _last_child(pid: int, lane: str) -> int:
    """Return the newest pool process under a worker; of one lane if it is named."""
    family = psutil.Process(pid).children(recursive=True)
    pool = [process for process in family if _is_pool_process(process, lane)]
    return int(max(pool, key=lambda process: process.create_time()).pid)


def _is_pool_process(process: psutil.Process, lane: str) -> bool:
    """Whether a process runs jobs, by its title: Quire's own, or that of Celery's pool."""
    title = " ".join(process.cmdline())
    return "ForkPoolWorker" in title or (title.startswith(f"quire: {lane}") and "(child)" in title)
