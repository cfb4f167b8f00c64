"""Many who ask at once: one shared model, thirty models, arrivals by chance.

The peer of the texts is benchmarks/peers/plain_celery.py on the same Redis: a task for each job, taken
by one worker process for each core, each with its own compiled loop. Its clients send the task and
wait for its result; ours send HTTP requests and wait for the texts in the answer.
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
#: Of what can be done at most, arrivals by chance ask for so much, and these are to be in time.
LOAD, IN_TIME_SECONDS, IN_TIME_SHARE = 0.7, 0.5, 0.99
LONGEST_OVER_MEDIAN = 3.0
TEXT_SECONDS = 60.0
#: Writes one text with the model of a number, and waits for it.
Ask = Callable[[int], None]


@dataclass
class Load:
    """What came of some seconds of asking.

    Attributes:
        seconds: What each text took.
        wall_seconds: How long it was asked for.
    """

    wall_seconds: float
    seconds: list[float] = field(default_factory=list)

    @property
    def per_second(self) -> float:
        """Texts a second."""
        return len(self.seconds) / self.wall_seconds


def measure(options: Options) -> list[Row]:
    """Three rows."""
    wanted = {"QUIRE_WAIT_SLOTS": str(CLIENTS), "QUIRE_API_THREADS": str(CLIENTS + 8)}
    many = {"QUIRE_MAX_QUEUED_PER_USER": "100000"}
    seconds = QUICK_SECONDS if options.quick else SECONDS
    rounds = QUICK_ROUNDS if options.quick else ROUNDS
    with ExitStack() as stack:
        quire = stack.enter_context(running(variables=wanted | many))
        model = train(quire.client)
        checkpoints = [another_checkpoint(quire, model, seed) for seed in range(MODELS)]
        ours = _asking_quire(quire, model, checkpoints)
        theirs = stack.enter_context(_asking_celery(quire, checkpoints))
        rows = []
        saturation = 0.0
        for name, models, target in (("one_model", 1, 5.0), ("thirty_models", MODELS, 2.0)):
            for ask in (theirs, ours):
                # The programs of a crowd's batches are compiled for the first of them.
                _crowd(ask, models, WARM_SECONDS)
            pairs = [
                (_crowd(theirs, models, seconds), _crowd(ours, models, seconds))
                for _ in range(rounds)
            ]
            mine, peer = [pair[1] for pair in pairs], [pair[0] for pair in pairs]
            saturation = saturation or statistics.median(load.per_second for load in mine)
            rows.append(_crowd_row(f"serve/{name}", models, mine, peer, target))
        rows.append(_open_loop(ours, theirs, LOAD * saturation, 2 * seconds))
    return rows


def _asking_quire(quire: Stack, model: str, checkpoints: Sequence[str]) -> Ask:
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
            raise RuntimeError(f"no text came: {answer}")

    return ask


@contextmanager
def _asking_celery(quire: Stack, checkpoints: Sequence[str]) -> Iterator[Ask]:
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


def _crowd(ask: Ask, models: int, seconds: float) -> Load:
    """Clients that ask again and again; of each the text is counted that ends within the time."""
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

    _together([partial(client, number) for number in range(CLIENTS)])
    return load


def _crowd_row(
    name: str, models: int, mine: Sequence[Load], peer: Sequence[Load], target: float
) -> Row:
    median, longest = quantiles([one for load in mine for one in load.seconds])
    their_median, their_longest = quantiles([one for load in peer for one in load.seconds])
    conditions = (
        f"{CLIENTS} clients, {LENGTH} characters each, again and again, each side "
        f"warm after {WARM_SECONDS:g} s that do not count, LSTM(128), "
        f"{models} {'checkpoint' if models == 1 else 'checkpoints'}, SQLite; p50 "
        f"{1e3 * median:.0f} ms and p99 {1e3 * longest:.0f} ms (at most "
        f"{LONGEST_OVER_MEDIAN:g} times p50); peer: a Celery task each, a worker for each core, "
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
        f"{per_second:.0f} arrivals a second by chance (Poisson), {LOAD:.0%} of what ours does at "
        f"most, for {seconds:g} s; share of the texts of {LENGTH} characters that are there within "
        f"{1e3 * IN_TIME_SECONDS:g} ms, which is to be {IN_TIME_SHARE:.0%} of ours; peer: the same "
        "arrivals"
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
    """Texts that are asked for at moments that chance decides, whoever waits."""
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
                # From the moment when it was due: who finds no free client waits too.
                load.seconds.append(time.perf_counter() - began - due)

    _together([client] * CLIENTS)
    return load


def _together(works: Sequence[Callable[[], None]]) -> None:
    """Do all at once, each in a thread; the first error is raised when all have ended."""
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
    """The median and the 99th percentile."""
    return statistics.median(seconds), statistics.quantiles(seconds, n=100)[-1]


if __name__ == "__main__":
    main("Serving: many who ask at once", measure)
