"""Serving: texts over HTTP beside a plain service, and beside bare Celery tasks.

The peer is benchmarks/peers/plain_service.py on the same Redis, with the same network, database
and durability. Quire runs with its default settings. Each row can be measured alone:

    python -m benchmarks.serve --row serve/crowd_64
"""

import json
import statistics
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial

from benchmarks.support.harness import Options, Row, interleave, main, row
from benchmarks.support.http_load import Load, Target, client_name, closed_loop
from benchmarks.support.plain_peer import PlainPeer, plain_peer
from benchmarks.support.stack import (
    Stack,
    another_checkpoint,
    cpu_seconds,
    running,
    train,
)
from tests.services.postgres import PostgresServer, cluster
from tests.services.servers import ServerMissing

LENGTH, ONE_LENGTH, MODELS = 200, 100, 30
SECONDS, QUICK_SECONDS, ROUNDS, QUICK_ROUNDS = 4.0, 4.0, 5, 2
WARM_SECONDS, PAUSE_SECONDS = 2.0, 0.3
#: A server is warm once it gets no faster than this from one warm-up to the next.
WARM_GAIN, MOST_WARM_UPS = 1.15, 8
#: Without the other benchmarks' silence: a server logs its requests.
VARIABLES = {"QUIRE_LOG_LEVEL": "info"}
PREFER = "wait=30"


@dataclass(frozen=True)
class Crowd:
    """A row of texts in a closed loop.

    Attributes:
        name: The name of the row.
        connections: How many ask at the same time.
        target: The ratio to the peer.
        models: How many checkpoints they ask for in turn.
        p99_over_p50: What p99 may be at most.
    """

    name: str
    connections: int
    target: float
    models: int = 1
    p99_over_p50: float | None = None


CROWDS = (
    Crowd("serve/crowd_64", 64, 3.0, p99_over_p50=2.0),
    Crowd("serve/crowd_16", 16, 2.0),
    Crowd("serve/crowd_4", 4, 1.1),
    Crowd("serve/thirty_models", 64, 4.0, models=MODELS),
)
POSTGRESQL = Crowd("serve/postgresql_64", 64, 3.0)


@dataclass(frozen=True)
class Pair:
    """Quire and the plain service, side by side.

    Attributes:
        checkpoints: Quire's; the plain service knows them by number.
    """

    quire: Stack
    plain: PlainPeer
    model: str
    checkpoints: Sequence[str]

    def ours(self, length: int = LENGTH, models: int = 1) -> Target:
        """Return what is requested of Quire."""
        bodies = [
            json.dumps({"model": self.model, "checkpoint": one, "prompt": "The ", "length": length})
            for one in self.checkpoints[:models]
        ]
        key = self.quire.client.key
        return Target(
            *(self.quire.port, "POST", "/v1/generate", key, bodies, PREFER),
            mark='"finish_reason":',
        )

    def theirs(self, length: int = LENGTH, models: int = 1) -> Target:
        """Return what is requested of the plain service."""
        bodies = [
            json.dumps({"checkpoint": str(number), "prompt": "The ", "length": length})
            for number in range(models)
        ]
        return Target(self.plain.port, "POST", "/generate", bodies=bodies)


def measure(options: Options) -> list[Row]:
    """Measure the requested rows."""
    rows: list[Row] = []
    on_sqlite: dict[str, Callable[[Pair, Options], Row]] = {
        **{crowd.name: partial(_crowd_row, crowd) for crowd in CROWDS},
        "serve/crowd_64_celery": _celery_row,
        "serve/one": _one_row,
        "serve/get_job": _get_job_row,
    }
    wanted = [make for name, make in on_sqlite.items() if options.wants(name)]
    if wanted:
        with _pair() as pair:
            rows += [make(pair, options) for make in wanted]
    if options.wants(POSTGRESQL.name):
        with suppress(ServerMissing), _postgresql_pair() as pair:
            rows.append(_crowd_row(POSTGRESQL, pair, options, "PostgreSQL, fsync on"))
    return rows


@contextmanager
def _pair(database_url: str | None = None, peer_url: str | None = None) -> Iterator[Pair]:
    with ExitStack() as stack:
        quire = stack.enter_context(running(database_url, VARIABLES))
        model = train(quire.client)
        checkpoints = [another_checkpoint(quire, model, seed) for seed in range(MODELS)]
        plain = stack.enter_context(plain_peer(quire, checkpoints, LENGTH, peer_url))
        yield Pair(quire, plain, model, checkpoints)


@contextmanager
def _postgresql_pair() -> Iterator[Pair]:
    with cluster(durable=True) as own, own.serve():
        server = PostgresServer(own.url, "bench")
        with (
            server.database("quire") as ours,
            server.database("plain") as theirs,
            _pair(ours, theirs) as pair,
        ):
            yield pair


def _crowd_row(crowd: Crowd, pair: Pair, options: Options, database: str = "SQLite") -> Row:
    ours, theirs = pair.ours(models=crowd.models), pair.theirs(models=crowd.models)
    mine, peer, cpu = _alternate(pair, ours, theirs, crowd.connections, options)
    conditions = (
        f"{crowd.connections} connections that request {LENGTH} characters back to back, "
        f"LSTM(128), {crowd.models} {'checkpoint' if crowd.models == 1 else 'checkpoints'}, "
        f"{database}; {_latency(mine, peer)}; CPU ms a text: {cpu}; "
        f"{_client(mine, peer)}; peer: the plain service"
    )
    also = True
    if crowd.p99_over_p50 is not None:
        p50, p99 = _median(mine, "p50"), _median(mine, "p99")
        also = p99 <= crowd.p99_over_p50 * p50
        conditions += f"; p99 must be at most {crowd.p99_over_p50:g} × p50"
    return row(
        crowd.name,
        [load.per_second for load in mine],
        [load.per_second for load in peer],
        "texts/s",
        crowd.target,
        conditions,
        more_is_better=True,
        also=also,
    )


def _celery_row(pair: Pair, options: Options) -> Row:
    """Compare with Celery tasks that a client of 64 threads sends and waits for."""
    connections, seconds = 64, _seconds(options)
    ours = pair.ours()

    def celery() -> float:
        return texts_of_threads(pair.plain.ask, connections, seconds)

    _warm_up(ours, connections)
    texts_of_threads(pair.plain.ask, connections, WARM_SECONDS)
    mine, theirs = interleave(
        lambda: closed_loop(ours, connections, seconds).per_second, celery, _rounds(options)
    )
    conditions = (
        f"as serve/crowd_64; {client_name()}; peer: {connections} threads that send a Celery task "
        "and wait for its result, without HTTP and without rows, a worker for each core"
    )
    return row(
        "serve/crowd_64_celery", mine, theirs, "texts/s", 2.0, conditions, more_is_better=True
    )


def _one_row(pair: Pair, options: Options) -> Row:
    ours, theirs = pair.ours(ONE_LENGTH), pair.theirs(ONE_LENGTH)
    mine, peer, _ = _alternate(pair, ours, theirs, 1, options)
    conditions = (
        f"one connection that requests {ONE_LENGTH} characters back to back, p50 of each round, "
        f"LSTM(128), SQLite; {_latency(mine, peer)}; {_client(mine, peer)}; peer: the plain service"
    )
    return row(
        "serve/one",
        [1e3 * load.p50 for load in mine],
        [1e3 * load.p50 for load in peer],
        "ms",
        0.95,
        conditions,
    )


def _get_job_row(pair: Pair, options: Options) -> Row:
    connections = 32
    body = json.loads(pair.ours().bodies[0])
    job = pair.quire.client.call("POST", "/v1/generate", body, Prefer=PREFER)["id"]
    theirs = pair.plain.client.call("POST", "/generate", json.loads(pair.theirs().bodies[0]))["id"]
    mine, peer, _ = _alternate(
        pair,
        Target(pair.quire.port, "GET", f"/v1/jobs/{job}", pair.quire.client.key, mark='"prompt":"'),
        Target(pair.plain.port, "GET", f"/jobs/{theirs}"),
        connections,
        options,
    )
    conditions = (
        f"{connections} connections that poll an ended job with its text back to back, SQLite; "
        f"{_latency(mine, peer)} (p99 at most 2 × the peer's); {_client(mine, peer)}; peer: the "
        "plain service's route, which reads the row with the ORM and checks no key"
    )
    return row(
        "serve/get_job",
        [load.per_second for load in mine],
        [load.per_second for load in peer],
        "requests/s",
        1.2,
        conditions,
        more_is_better=True,
        also=_median(mine, "p99") <= 2 * _median(peer, "p99"),
    )


def _alternate(
    pair: Pair, ours: Target, theirs: Target, connections: int, options: Options
) -> tuple[list[Load], list[Load], str]:
    """Load both servers in turn.

    Returns:
        The rounds of Quire and of the peer, and how much CPU time an answer took of each process.
    """
    mine: list[Load] = []
    peer: list[Load] = []
    sides = ((theirs, peer, pair.plain.processes), (ours, mine, pair.quire.processes))
    used: dict[str, float] = defaultdict(float)
    answers: dict[str, float] = defaultdict(float)
    for target, _, _ in sides:
        _warm_up(target, connections)
    for _ in range(_rounds(options)):
        for target, loads, processes in sides:
            time.sleep(PAUSE_SECONDS)
            before = {name: cpu_seconds(pid) for name, pid in processes.items()}
            loads.append(closed_loop(target, connections, _seconds(options)))
            for name, pid in processes.items():
                used[name] += cpu_seconds(pid) - before[name]
                answers[name] += loads[-1].per_second * _seconds(options)
    if not all(answers.values()):
        raise RuntimeError("no answer came in time")
    words = [f"{name} {1e3 * used[name] / answers[name]:.1f}" for name in used]
    return mine, peer, ", ".join(words)


def _warm_up(target: Target, connections: int) -> None:
    """Load a server until it no longer gets faster: batches of each size are compiled here."""
    before = 0.0
    for _ in range(MOST_WARM_UPS):
        now = closed_loop(target, connections, WARM_SECONDS).per_second
        if 0 < now < WARM_GAIN * before:
            return
        before = now


def texts_of_threads(ask: Callable[[int], None], threads: int, seconds: float) -> float:
    """Return the texts per second of threads that each ask for one after the other."""
    counted: list[int] = []
    ends_at = time.perf_counter() + seconds

    def client() -> None:
        done = 0
        while True:
            ask(0)
            if time.perf_counter() > ends_at:
                counted.append(done)
                return
            done += 1

    clients = [threading.Thread(target=client) for _ in range(threads)]
    for each in clients:
        each.start()
    for each in clients:
        each.join()
    if len(counted) < threads:
        raise RuntimeError("a client failed")
    return sum(counted) / seconds


def _seconds(options: Options) -> float:
    return QUICK_SECONDS if options.quick else SECONDS


def _rounds(options: Options) -> int:
    return QUICK_ROUNDS if options.quick else ROUNDS


def _median(loads: Sequence[Load], name: str) -> float:
    figures: list[float] = [getattr(load, name) for load in loads]
    return statistics.median(figures)


def _latency(mine: Sequence[Load], peer: Sequence[Load]) -> str:
    figures = [
        f"p50 {1e3 * _median(loads, 'p50'):.0f} ms and p99 {1e3 * _median(loads, 'p99'):.0f} ms"
        for loads in (mine, peer)
    ]
    return f"{figures[0]}, peer {figures[1]}"


def _client(mine: Sequence[Load], peer: Sequence[Load]) -> str:
    busiest = max(load.client_cpu for load in (*mine, *peer))
    return f"{client_name()}, which took at most {busiest:.0%} of a core"


if __name__ == "__main__":
    main("Serving: beside a plain service", measure)
