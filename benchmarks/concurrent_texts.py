"""Many concurrent clients: one shared model, thirty models, Poisson arrivals.

The peer is benchmarks/peers/plain_celery.py on the same Redis: one task per job and one worker
process per core, each with its own compiled loop. Its clients send the task and wait for its
result; Quire's send HTTP requests and wait for the texts in the response.
"""

import os
import random
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial

import psutil
from celery.exceptions import TimeoutError as NoResult
from sqlalchemy import select

from benchmarks.peers import plain_celery
from benchmarks.support.harness import Options, Row, Sample, main, row
from benchmarks.support.stack import Stack, another_checkpoint, running, train, until
from shared import blobs
from shared.database import make_engine
from shared.tables import Checkpoint

CLIENTS, LENGTH, MODELS = 64, 200, 30
SECONDS, QUICK_SECONDS, ROUNDS, QUICK_ROUNDS = 10.0, 4.0, 3, 1
WARM_SECONDS = 2.0
#: Poisson arrivals as a share of the highest throughput, and the required share of texts in time.
LOAD, IN_TIME_SECONDS, IN_TIME_SHARE = 0.7, 0.5, 0.99
LONGEST_OVER_MEDIAN = 3.0
TEXT_SECONDS = 60.0
#: Requests one text from the checkpoint of this number, and waits for it.
Ask = Callable[[int], None]


@dataclass
class Load:
    """The results of a period of load.

    Attributes:
        seconds: The latency of each text.
        wall_seconds: The length of the period.
    """

    wall_seconds: float
    seconds: list[float] = field(default_factory=list)

    @property
    def per_second(self) -> float:
        """The texts per second."""
        return len(self.seconds) / self.wall_seconds


def measure(options: Options) -> list[Row]:
    """Measure three rows."""
    many = {"QUIRE_MAX_QUEUED_PER_USER": "100000"}
    seconds = QUICK_SECONDS if options.quick else SECONDS
    rounds = QUICK_ROUNDS if options.quick else ROUNDS
    with ExitStack() as stack:
        quire = stack.enter_context(running(variables=many))
        model = train(quire.client)
        checkpoints = [another_checkpoint(quire, model, seed) for seed in range(MODELS)]
        ours = _quire_client(quire, model, checkpoints)
        theirs = stack.enter_context(_celery_client(quire, checkpoints))
        rows = []
        saturation = 0.0
        for name, models, target in (("one_model", 1, 5.0), ("thirty_models", MODELS, 2.0)):
            for ask in (theirs, ours):
                # The first batches of each size are compiled here.
                _closed_loop(ask, models, WARM_SECONDS)
            pairs = [
                (_closed_loop(theirs, models, seconds), _closed_loop(ours, models, seconds))
                for _ in range(rounds)
            ]
            mine, peer = [pair[1] for pair in pairs], [pair[0] for pair in pairs]
            saturation = saturation or statistics.median(load.per_second for load in mine)
            rows.append(_closed_loop_row(f"serve/{name}", models, mine, peer, target))
        rows.append(_open_loop(ours, theirs, LOAD * saturation, 2 * seconds))
    return rows


def _quire_client(quire: Stack, model: str, checkpoints: Sequence[str]) -> Ask:
    clients = threading.local()

    def ask(number: int) -> None:
        if not hasattr(clients, "own"):
            clients.own = quire.connect()
        body = {
            "model": model,
            "checkpoint": checkpoints[number],
            "prompt": "The ",
            "length": LENGTH,
        }
        answer = clients.own.call("POST", "/v1/generate", body, Prefer="wait=30")
        while answer["status"] != "succeeded":
            time.sleep(0.05)
            answer = clients.own.call("GET", f"/v1/jobs/{answer['id']}")
        if len(answer["texts"][0]["text"]) != LENGTH:
            raise RuntimeError(f"no text arrived: {answer}")

    return ask


@contextmanager
def _celery_client(quire: Stack, checkpoints: Sequence[str]) -> Iterator[Ask]:
    folder = quire.directory / "plain"
    folder.mkdir()
    engine = make_engine(quire.database_url)
    for number, checkpoint in enumerate(checkpoints):
        with engine.connect() as connection:
            sha256 = connection.scalars(
                select(Checkpoint.sha256).where(Checkpoint.id == checkpoint)
            ).one()
        (folder / f"{number}.safetensors").write_bytes(blobs.load(engine, sha256))
    engine.dispose()
    url = quire.environment["REDIS_URL"].replace("db=0", "db=1")
    app = plain_celery.make_app(url)
    environment = quire.environment | {
        "REDIS_URL": url,
        plain_celery.FOLDER: str(folder),
        "QUIRE_TRAIN_THREADS": "1",
    }
    log = folder / "workers.log"
    with log.open("wb") as output:
        cores = len(os.sched_getaffinity(0))
        workers = [
            subprocess.Popen(
                plain_celery.command("generate"), env=environment, stdout=output, stderr=output
            )
            for _ in range(cores)
        ]

    def ask(number: int) -> None:
        arguments = (str(number), "The ", LENGTH, [0.5], number)
        task = app.send_task("plain.generate", arguments, queue="generate")
        if len(task.get(timeout=TEXT_SECONDS)[0]) != LENGTH:
            raise NoResult

    try:
        until(lambda: log.read_bytes().count(b" ready.") == cores, "Celery's workers")
        for _ in range(4 * cores):
            ask(0)
        yield ask
    finally:
        for worker in workers:
            family = psutil.Process(worker.pid).children(recursive=True)
            worker.kill()
            for each in family:
                each.kill()
            worker.wait()


def _closed_loop(ask: Ask, models: int, seconds: float) -> Load:
    """Run clients that request texts back to back; count the texts that end in time."""
    load, lock = Load(seconds), threading.Lock()
    ends_at = time.perf_counter() + seconds

    def client(number: int) -> None:
        while True:
            started = time.perf_counter()
            ask(number % models)
            ended = time.perf_counter()
            if ended > ends_at:
                return
            with lock:
                load.seconds.append(ended - started)

    _run_in_threads([partial(client, number) for number in range(CLIENTS)])
    return load


def _closed_loop_row(
    name: str, models: int, mine: Sequence[Load], peer: Sequence[Load], target: float
) -> Row:
    median, longest = quantiles([one for load in mine for one in load.seconds])
    their_median, their_longest = quantiles([one for load in peer for one in load.seconds])
    conditions = (
        f"{CLIENTS} clients that request {LENGTH} characters back to back, "
        f"{WARM_SECONDS:g} s of warm-up, LSTM(128), "
        f"{models} {'checkpoint' if models == 1 else 'checkpoints'}, SQLite; p50 "
        f"{1e3 * median:.0f} ms and p99 {1e3 * longest:.0f} ms (at most "
        f"{LONGEST_OVER_MEDIAN:g} times p50); peer: one Celery task per text, a worker per core, "
        f"p50 {1e3 * their_median:.0f} ms and p99 {1e3 * their_longest:.0f} ms"
    )
    return row(
        name,
        [load.per_second for load in mine],
        [load.per_second for load in peer],
        "texts/s",
        target,
        conditions,
        more_is_better=True,
        also=models > 1 or longest <= LONGEST_OVER_MEDIAN * median,
    )


def _open_loop(ours: Ask, theirs: Ask, per_second: float, seconds: float) -> Row:
    def share(ask: Ask) -> float:
        load = _arrivals(ask, per_second, seconds)
        return sum(one <= IN_TIME_SECONDS for one in load.seconds) / len(load.seconds)

    their_share, our_share = share(theirs), share(ours)
    conditions = (
        f"{per_second:.0f} Poisson arrivals per second, {LOAD:.0%} of Quire's highest throughput, "
        f"for {seconds:g} s; share of the texts of {LENGTH} characters that arrive within "
        f"{1e3 * IN_TIME_SECONDS:g} ms, of which Quire must reach {IN_TIME_SHARE:.0%}; peer: the "
        "same arrivals"
    )
    ratio = our_share / IN_TIME_SHARE
    return Row(
        "serve/open_loop",
        Sample((our_share,)),
        Sample((their_share,)),
        "share",
        ratio,
        1.0,
        ratio >= 1,
        conditions,
    )


def _arrivals(ask: Ask, per_second: float, seconds: float) -> Load:
    """Request texts at random moments, however many are pending."""
    load, lock, draws = Load(seconds), threading.Lock(), random.Random(1)
    moments = []
    at = draws.expovariate(per_second)
    while at < seconds:
        moments.append(at)
        at += draws.expovariate(per_second)
    place = iter(moments)
    began = time.perf_counter() + 0.1

    def client() -> None:
        while True:
            with lock:
                due = next(place, None)
            if due is None:
                return
            time.sleep(max(0.0, began + due - time.perf_counter()))
            ask(0)
            with lock:
                # Counted from the due moment: waiting for a free client is latency too.
                load.seconds.append(time.perf_counter() - began - due)

    _run_in_threads([client] * CLIENTS)
    return load


def _run_in_threads(works: Sequence[Callable[[], None]]) -> None:
    """Run each function in a thread; raise the first error once all have ended."""
    errors: list[BaseException] = []

    def guarded(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # raised below
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def quantiles(seconds: Sequence[float]) -> tuple[float, float]:
    """Return the median and the 99th percentile."""
    return statistics.median(seconds), statistics.quantiles(seconds, n=100)[-1]


if __name__ == "__main__":
    main("Serving: many concurrent clients", measure)
