"""Serving: texts over HTTP beside a plain service, and beside bare Celery tasks.

The peer is benchmarks/peers/plain_service.py on the same Redis, with the same network, database
and durability. Quire runs with its default settings. Each row can be measured alone:

    python -m benchmarks.serve --row serve/crowd_64
"""

import json
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from benchmarks.support.harness import Options, Row, interleave, main, row
from benchmarks.support.http_load import Target, client_name, closed_loop
from benchmarks.support.side_by_side import (
    LENGTH,
    MODELS,
    PREFER,
    WARM_SECONDS,
    Pair,
    alternate,
    client,
    latency,
    median_of_rounds,
    pair_on,
    postgresql_pair,
    rounds_of,
    seconds_of_round,
    warm_up,
)
from tests.services.servers import ServerMissing

ONE_LENGTH = 100


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
        models = max([crowd.models for crowd in CROWDS if options.wants(crowd.name)], default=1)
        with pair_on(models=models) as pair:
            rows += [make(pair, options) for make in wanted]
    if options.wants(POSTGRESQL.name):
        with suppress(ServerMissing), postgresql_pair() as pair:
            rows.append(_crowd_row(POSTGRESQL, pair, options, "PostgreSQL, fsync on"))
    return rows


def _crowd_row(crowd: Crowd, pair: Pair, options: Options, database: str = "SQLite") -> Row:
    ours, theirs = pair.ours(models=crowd.models), pair.theirs(models=crowd.models)
    mine, peer, cpu = alternate(pair, ours, theirs, crowd.connections, options)
    conditions = (
        f"{crowd.connections} connections that request {LENGTH} characters back to back, "
        f"LSTM(128), {crowd.models} {'checkpoint' if crowd.models == 1 else 'checkpoints'}, "
        f"{database}; {latency(mine, peer)}; CPU ms a text: {cpu}; "
        f"{client(mine, peer)}; peer: the plain service"
    )
    also = True
    if crowd.p99_over_p50 is not None:
        p50, p99 = median_of_rounds(mine, "p50"), median_of_rounds(mine, "p99")
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
    connections, seconds = 64, seconds_of_round(options)
    ours = pair.ours()

    def celery() -> float:
        return texts_of_threads(pair.plain.ask, connections, seconds)

    warm_up(ours, connections, options)
    texts_of_threads(pair.plain.ask, connections, WARM_SECONDS)
    mine, theirs = interleave(
        lambda: closed_loop(ours, connections, seconds).per_second, celery, rounds_of(options)
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
    mine, peer, _ = alternate(pair, ours, theirs, 1, options)
    conditions = (
        f"one connection that requests {ONE_LENGTH} characters back to back, p50 of each round, "
        f"LSTM(128), SQLite; {latency(mine, peer)}; {client(mine, peer)}; peer: the plain service"
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
    mine, peer, _ = alternate(
        pair,
        Target(
            pair.quire.port,
            "GET",
            f"/v1/jobs/{job}",
            pair.quire.client.key,
            mark='"finish_reason":',
        ),
        Target(pair.plain.port, "GET", f"/jobs/{theirs}"),
        connections,
        options,
    )
    conditions = (
        f"{connections} connections that poll an ended job with its text back to back, SQLite; "
        f"{latency(mine, peer)} (p99 at most 2 × the peer's); {client(mine, peer)}; peer: the "
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
        also=median_of_rounds(mine, "p99") <= 2 * median_of_rounds(peer, "p99"),
    )


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


if __name__ == "__main__":
    main("Serving: beside a plain service", measure)
