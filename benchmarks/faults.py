"""What faults do to a job on Quire and on Celery alone: `docs/why-wakes.md` shows both columns.

Each row does the same to both, with real processes that are killed: the worker's child, its main
process, its Redis, its messages. A cell says what was seen. It measures no speed.

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

from benchmarks.support.fault_subjects import Plain, Quire, Side, until
from tests.faults.parts import Redis
from tests.services.servers import short_directory

#: Long enough for any redelivery but one that waits for Celery's hour.
PATIENCE_SECONDS = 60.0
#: Celery's hour, shortened to where a training of some seconds is a long one.
SHORT_VISIBILITY_SECONDS = 3.0
QUEUED = 10
DUPLICATES = 1000
POISON_SECONDS = 45.0


# -- the rows ------------------------------------------------------------------------------------


def child_dies(side: Side) -> str:
    """The worker's child is killed in a training (`kill -9`)."""
    with side.worker() as worker:
        job_id = _begun(side)
        os.kill(side.child(worker), signal.SIGKILL)
        return _outcome(side, job_id)


def parent_dies(side: Side) -> str:
    """The worker's main process is killed in a training, and another worker is started."""
    with side.worker() as worker:
        job_id = _begun(side)
        child = side.child(worker)
        os.kill(psutil.Process(child).ppid(), signal.SIGKILL)
        time.sleep(2)
        orphan = "its child trains on alone; " if psutil.pid_exists(child) else ""
        with side.worker():
            return orphan + _outcome(side, job_id)


def redeploy(side: Side) -> str:
    """TERM in a training, and another worker is started."""
    with side.worker() as worker:
        job_id = _begun(side)
        began = time.monotonic()
        worker.terminate()
        try:
            worker.wait(30)
            stopped = f"stops within {_seconds(began)} s; "
        except subprocess.TimeoutExpired:
            stopped = "does not stop within 30 s; "
    with side.worker():
        return stopped + _outcome(side, job_id)


def long_job(side: Side) -> str:
    """A training that takes longer than the broker waits, beside a second worker that is idle."""
    if isinstance(side, Plain):
        side.visibility = SHORT_VISIBILITY_SECONDS
    with side.worker(), side.worker():
        job_id = _begun(side)
        return _outcome(side, job_id)


def redis_wiped(side: Side) -> str:
    """FLUSHALL while 10 trainings wait for a worker."""
    jobs = [side.train(epochs=1) for _ in range(QUEUED)]
    with side.redis.client() as client:
        client.flushall()
    return _how_many(side, jobs)


def redis_down(side: Side) -> str:
    """A training is submitted while Redis is down; Redis comes back."""
    side.redis.kill()
    began = time.monotonic()
    try:
        jobs = [side.train(epochs=1)]
        said = f"taken after {_seconds(began)} s; "
    except (OperationalError, OSError, RuntimeError) as error:
        # RuntimeError: Celery's result backend gives up, «the application must be restarted».
        jobs, said = [], f"refused after {_seconds(began)} s ({type(error).__name__}); "
    side.redis.start()
    return said + (_how_many(side, jobs) if jobs else "it is up to the sender to try again")


def duplicates(side: Side) -> str:
    """The message of a training, a thousand times more."""
    job_id = side.train(epochs=1)
    with side.redis.client() as client:
        [message] = client.lrange("train", 0, -1)
        client.lpush("train", *[message] * DUPLICATES)
        with side.worker():
            until(lambda: side.result(job_id), "the first")
            time.sleep(20)
            left = client.llen("train")
            runs = side.runs(job_id)
    more = f" after 20 s, {left} to come" if left else ""
    return f"begun {_times(runs)}{more}"


def stolen(side: Side) -> str:
    """A message is lost on its way."""
    jobs = [side.train(epochs=1)]
    with side.redis.client() as client:
        client.delete("train")
    return _how_many(side, jobs)


def poison(side: Side) -> str:
    """A job that kills its worker every time."""
    with side.worker():
        job_id = side.train("poison")
        began = time.monotonic()
        while time.monotonic() - began < POISON_SECONDS and not side.result(job_id):
            time.sleep(0.2)
        end = side.result(job_id)
        return f"begun {_times(side.runs(job_id))}, " + (
            f"then failed: «{end}»" if end else f"no end in sight after {POISON_SECONDS:g} s"
        )


ROWS: dict[str, Callable[[Side], str]] = {
    row.__name__: row
    for row in (
        child_dies, parent_dies, redeploy, long_job, redis_wiped, redis_down, duplicates, stolen,
        poison,
    )
}  # fmt: skip


@dataclass
class _Undisturbed:
    digest: str | None = None


undisturbed = _Undisturbed()


def _begun(side: Side) -> str:
    """A training that has written three checkpoints."""
    job_id = side.train()
    until(lambda: side.epochs(job_id) >= 3, "three checkpoints")
    return job_id


def _outcome(side: Side, job_id: str) -> str:
    _while_it_moves(lambda: side.epochs(job_id) + side.runs(job_id), lambda: side.result(job_id))
    runs = _times(side.runs(job_id))
    end = side.result(job_id)
    if end is None:
        return f"begun {runs}, and nothing moves for {PATIENCE_SECONDS:g} s"
    same = "the same digest" if end == undisturbed.digest else f"another result: {end}"
    return f"ends well, begun {runs}, {same}"


def _how_many(side: Side, jobs: list[str]) -> str:
    def ended() -> int:
        return sum(bool(side.result(one)) for one in jobs)

    with side.worker():
        _while_it_moves(ended, lambda: ended() == len(jobs))
        return f"{ended()} of {len(jobs)} end"


def _while_it_moves(count: Callable[[], int], is_done: Callable[[], object]) -> None:
    """Wait until it is done, or nothing was counted for too long."""
    last, moved_at = count(), time.monotonic()
    while not is_done() and time.monotonic() - moved_at < PATIENCE_SECONDS:
        time.sleep(0.2)
        if (now := count()) != last:
            last, moved_at = now, time.monotonic()


def _times(count: int) -> str:
    return {0: "never", 1: "once", 2: "twice"}.get(count, f"{count:,} times")


def _seconds(since: float) -> str:
    return f"{time.monotonic() - since:.1f}"


def _run(make: type[Side], row: Callable[[Side], str] | None) -> str:
    with ExitStack() as stack:
        redis = Redis(stack.enter_context(short_directory("redis")))
        stack.callback(redis.kill)
        redis.start()
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="quire-faults-")))
        side = make(redis, folder)
        if row is not None:
            return row(side)
        with side.worker():
            job_id = side.train()
            until(lambda: side.result(job_id), "a training that nothing happens to")
            return str(side.result(job_id))


def main(names: list[str]) -> None:
    """Print the table."""
    undisturbed.digest = _run(Quire, None)
    packages = ", ".join(f"{one} {version(one)}" for one in ("celery", "kombu", "tensorflow"))
    print(f"{datetime.now(UTC):%Y-%m-%d}, {packages}\n", flush=True)
    print("| row | what happens | Quire | Celery alone |\n| --- | --- | --- | --- |", flush=True)
    for name in names or ROWS:
        row = ROWS[name]
        cells = [_run(make, row) for make in (Quire, Plain)]
        print(f"| `{name}` | {row.__doc__} | {cells[0]} | {cells[1]} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
