"""The effects of faults on jobs of Quire and of plain Celery, as shown in `docs/why-wakes.md`.

Each row injects the same fault into both, with real processes: the worker's child, its main
process, its Redis or its messages are lost. A cell describes the outcome. No speed is measured.

    python -m benchmarks.faults [ROW …]
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import psutil
from kombu.exceptions import OperationalError

from benchmarks.support.fault_subjects import CelerySystem, JobSystem, QuireSystem, until
from tests.faults.parts import Redis
from tests.services.servers import short_directory

#: Long enough for every redelivery except after Celery's visibility time-out of an hour.
PATIENCE_SECONDS = 60.0
#: Celery's visibility time-out, shortened so that a training of some seconds exceeds it.
SHORT_VISIBILITY_SECONDS = 3.0
QUEUED = 10
DUPLICATES = 1000
POISON_SECONDS = 45.0


# -- rows ----------------------------------------------------------------------------------------


def child_dies(system: JobSystem) -> str:
    """The worker's child is killed during a training (`kill -9`)."""
    with system.worker() as worker:
        job_id = _start_training(system)
        os.kill(system.child(worker), signal.SIGKILL)
        return _outcome(system, job_id)


def parent_dies(system: JobSystem) -> str:
    """The worker's main process is killed during a training, and another worker starts."""
    with system.worker() as worker:
        job_id = _start_training(system)
        child = system.child(worker)
        os.kill(psutil.Process(child).ppid(), signal.SIGKILL)
        time.sleep(2)
        orphan = "its child keeps training; " if psutil.pid_exists(child) else ""
        with system.worker():
            return orphan + _outcome(system, job_id)


def redeploy(system: JobSystem) -> str:
    """The worker gets SIGTERM during a training, and another worker starts."""
    with system.worker() as worker:
        job_id = _start_training(system)
        began = time.monotonic()
        worker.terminate()
        try:
            worker.wait(30)
            stopped = f"stops within {_seconds(began)} s; "
        except subprocess.TimeoutExpired:
            stopped = "does not stop within 30 s; "
    with system.worker():
        return stopped + _outcome(system, job_id)


def long_job(system: JobSystem) -> str:
    """A training exceeds the visibility time-out, with a second, idle worker."""
    if isinstance(system, CelerySystem):
        system.visibility = SHORT_VISIBILITY_SECONDS
    with system.worker(), system.worker():
        job_id = _start_training(system)
        return _outcome(system, job_id)


def redis_wiped(system: JobSystem) -> str:
    """FLUSHALL while 10 trainings wait for a worker."""
    jobs = [system.train(epochs=1) for _ in range(QUEUED)]
    with system.redis.client() as client:
        client.flushall()
    return _count_ended(system, jobs)


def redis_down(system: JobSystem) -> str:
    """A training is submitted while Redis is down, and Redis restarts."""
    system.redis.kill()
    began = time.monotonic()
    try:
        jobs = [system.train(epochs=1)]
        outcome = f"accepted after {_seconds(began)} s; "
    except (OperationalError, OSError, RuntimeError) as error:
        # RuntimeError: Celery's result backend gives up («the application must be restarted»).
        jobs, outcome = [], f"refused after {_seconds(began)} s ({type(error).__name__}); "
    system.redis.start()
    return outcome + (_count_ended(system, jobs) if jobs else "the sender must retry")


def duplicates(system: JobSystem) -> str:
    """The message of a training is duplicated a thousand times."""
    job_id = system.train(epochs=1)
    with system.redis.client() as client:
        [message] = client.lrange("train", 0, -1)
        client.lpush("train", *[message] * DUPLICATES)
        with system.worker():
            until(lambda: system.result(job_id), "the first")
            time.sleep(20)
            left = client.llen("train")
            runs = system.runs(job_id)
    more = f" after 20 s, {left} left" if left else ""
    return f"started {_times(runs)}{more}"


def stolen(system: JobSystem) -> str:
    """A message is lost."""
    jobs = [system.train(epochs=1)]
    with system.redis.client() as client:
        client.delete("train")
    return _count_ended(system, jobs)


def poison(system: JobSystem) -> str:
    """A job kills its worker each time."""
    with system.worker():
        job_id = system.train("poison")
        began = time.monotonic()
        while time.monotonic() - began < POISON_SECONDS and not system.result(job_id):
            time.sleep(0.2)
        end = system.result(job_id)
        return f"started {_times(system.runs(job_id))}, " + (
            f"then failed: «{end}»" if end else f"still restarting after {POISON_SECONDS:g} s"
        )


ROWS: dict[str, Callable[[JobSystem], str]] = {
    row.__name__: row
    for row in (
        child_dies, parent_dies, redeploy, long_job, redis_wiped, redis_down, duplicates, stolen,
        poison,
    )
}  # fmt: skip


@dataclass
class _Reference:
    digest: str | None = None


reference = _Reference()


def _start_training(system: JobSystem) -> str:
    """Start a training and wait for its third checkpoint."""
    job_id = system.train()
    until(lambda: system.epochs(job_id) >= 3, "three checkpoints")
    return job_id


def _outcome(system: JobSystem, job_id: str) -> str:
    _wait_while_progressing(
        lambda: system.epochs(job_id) + system.runs(job_id), lambda: system.result(job_id)
    )
    runs = _times(system.runs(job_id))
    end = system.result(job_id)
    if end is None:
        return f"started {runs}, no progress for {PATIENCE_SECONDS:g} s"
    same = "the same digest" if end == reference.digest else f"another result: {end}"
    return f"succeeds, started {runs}, {same}"


def _count_ended(system: JobSystem, jobs: list[str]) -> str:
    def ended() -> int:
        return sum(bool(system.result(one)) for one in jobs)

    with system.worker():
        _wait_while_progressing(ended, lambda: ended() == len(jobs))
        return f"{ended()} of {len(jobs)} succeed"


def _wait_while_progressing(count: Callable[[], int], is_done: Callable[[], object]) -> None:
    """Wait until it is done, or until the count has not changed for too long."""
    last, moved_at = count(), time.monotonic()
    while not is_done() and time.monotonic() - moved_at < PATIENCE_SECONDS:
        time.sleep(0.2)
        if (now := count()) != last:
            last, moved_at = now, time.monotonic()


def _times(count: int) -> str:
    return {0: "never", 1: "once", 2: "twice"}.get(count, f"{count:,} times")


def _seconds(since: float) -> str:
    return f"{time.monotonic() - since:.1f}"


def _run(make: type[JobSystem], row: Callable[[JobSystem], str] | None) -> str:
    with ExitStack() as stack:
        redis = Redis(stack.enter_context(short_directory("redis")))
        stack.callback(redis.kill)
        redis.start()
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="quire-faults-")))
        system = make(redis, folder)
        if row is not None:
            return row(system)
        with system.worker():
            job_id = system.train()
            until(lambda: system.result(job_id), "an undisturbed training")
            return str(system.result(job_id))


def main(names: list[str]) -> None:
    """Print the table of all rows, or of the given ones."""
    reference.digest = _run(QuireSystem, None)
    packages = ", ".join(f"{one} {version(one)}" for one in ("celery", "kombu", "tensorflow"))
    print(f"{datetime.now(UTC):%Y-%m-%d}, {packages}\n", flush=True)
    print("| row | what happens | Quire | Celery alone |\n| --- | --- | --- | --- |", flush=True)
    for name in names or ROWS:
        row = ROWS[name]
        cells = [_run(make, row) for make in (QuireSystem, CelerySystem)]
        print(f"| `{name}` | {row.__doc__} | {cells[0]} | {cells[1]} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
