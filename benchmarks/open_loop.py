"""Serving: Poisson arrivals, however many requests are pending.

The peer is a Celery task for each text (benchmarks/peers/plain_celery.py) with a worker for each
core, on the same Redis. Its clients send the task and wait for its result; Quire's send HTTP
requests and wait for the text in the response.
"""

import json
import random
import threading
import time
from collections.abc import Callable

from benchmarks.support.harness import Options, Row, Sample, main
from benchmarks.support.http_load import Target, closed_loop
from benchmarks.support.plain_peer import Ask, plain_peer
from benchmarks.support.requests import text_in_response
from benchmarks.support.stack import Stack, another_checkpoint, running, train

CLIENTS, LENGTH = 64, 200
SECONDS, QUICK_SECONDS, SATURATION_SECONDS = 20.0, 8.0, 4.0
#: Poisson arrivals as a share of the highest throughput, and the required share of texts in time.
LOAD, IN_TIME_SECONDS, IN_TIME_SHARE = 0.7, 0.5, 0.99


def measure(options: Options) -> list[Row]:
    """Measure one row."""
    seconds = QUICK_SECONDS if options.quick else SECONDS
    with running() as quire:
        model = train(quire.client)
        checkpoint = another_checkpoint(quire, model, 0)
        body = {"model": model, "checkpoint": checkpoint, "prompt": "The ", "length": LENGTH}
        target = Target(
            *(quire.port, "POST", "/v1/generate", quire.client.key, [json.dumps(body)], "wait=30"),
            mark='"finish_reason":',
        )
        closed_loop(target, CLIENTS, SATURATION_SECONDS)
        saturation = closed_loop(target, CLIENTS, SATURATION_SECONDS).per_second
        with plain_peer(quire, [checkpoint], LENGTH) as plain:
            per_second = LOAD * saturation
            theirs = _share_in_time(plain.ask, per_second, seconds)
            ours = _share_in_time(_quire_client(quire, body), per_second, seconds)
    conditions = (
        f"{per_second:.0f} Poisson arrivals per second, {LOAD:.0%} of Quire's highest throughput, "
        f"for {seconds:g} s; share of the texts of {LENGTH} characters that arrive within "
        f"{1e3 * IN_TIME_SECONDS:g} ms, of which Quire must reach {IN_TIME_SHARE:.0%}; peer: the "
        "same arrivals as Celery tasks"
    )
    ratio = ours / IN_TIME_SHARE
    samples = Sample((ours,)), Sample((theirs,))
    return [
        Row("serve/open_loop", *samples, "share", ratio, 1.0, ratio >= 1, conditions),
    ]


def _quire_client(quire: Stack, body: dict[str, object]) -> Ask:
    clients = threading.local()

    def ask(_number: int) -> None:
        if not hasattr(clients, "own"):
            clients.own = quire.connect()
        text_in_response(clients.own, body, LENGTH)

    return ask


def _share_in_time(ask: Ask, per_second: float, seconds: float) -> float:
    """Request texts at random moments; return the share of those that come in time."""
    latencies: list[float] = []
    lock, draws = threading.Lock(), random.Random(1)
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
                latencies.append(time.perf_counter() - began - due)

    _run_in_threads(client, CLIENTS)
    return sum(one <= IN_TIME_SECONDS for one in latencies) / len(moments)


def _run_in_threads(work: Callable[[], None], count: int) -> None:
    """Run a function in some threads; raise the first error once all have ended."""
    errors: list[BaseException] = []

    def guarded() -> None:
        try:
            work()
        except BaseException as error:  # raised below
            errors.append(error)

    threads = [threading.Thread(target=guarded) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


if __name__ == "__main__":
    main("Serving: Poisson arrivals", measure)
