"""The latency of a short text through HTTP, queue, worker and database.

The peer is a Celery task that does nothing, sent and awaited with ``apply_async().get()`` on the
same Redis, with the same Celery settings and its own worker. No text can arrive before its wake;
the rest is what Quire adds: HTTP, three transactions, and the network's hundred steps.
"""

import http.client
import json
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any

from benchmarks.generate import CLASSIC, KerasScript, random_weights
from benchmarks.support.harness import Options, Row, interleave, main, row
from benchmarks.support.stack import Stack, another_checkpoint, noop, running, train, watcher
from shared.database import journal_mode
from tests.services.postgres import postgres_server
from tests.services.servers import ServerMissing

LENGTH = 100
TARGET = 0.25
REQUESTS = 20
ROUNDS = 7
POLL_SECONDS = 0.0005
PROMPT = {"prompt": "The "}
#: The texts that the classic script writes after an epoch.
TEMPERATURES, EVENING_LENGTH = [0.2, 0.5, 1.0, 1.2], 400
#: Limits of the time to the first character, with a loaded checkpoint and with a new one.
FIRST_P95_MS, UNSEEN_MS = 50.0, 150.0


def measure(options: Options) -> list[Row]:
    """Measure SQLite, which `quire up` uses, and PostgreSQL unless the run is quick."""
    rows = [_row("serve/generate_100", None, options), *_evening(options)]
    if not options.quick:
        with suppress(ServerMissing), postgres_server() as server, server.database("bench") as url:
            rows.append(_row("serve/generate_100_postgresql", url, options))
    return rows


def _row(name: str, database_url: str | None, options: Options) -> Row:
    with ExitStack() as stack:
        quire = stack.enter_context(running(database_url))
        client, model = quire.client, train(quire.client)
        peer = stack.enter_context(noop(quire))
        is_there = stack.enter_context(watcher(quire.database_url))

        def ours() -> None:
            job = client.call("POST", "/v1/generate", {"model": model, "length": LENGTH, **PROMPT})
            while not is_there(job["id"]):
                time.sleep(POLL_SECONDS)

        def waited() -> None:
            body = {"model": model, "length": LENGTH, **PROMPT}
            answer = client.call("POST", "/v1/generate", body, Prefer="wait=10")
            if len(answer["texts"][0]["text"]) != LENGTH:
                raise RuntimeError(f"no text arrived: {answer}")

        for work in (ours, waited, peer):
            _median_of(work, REQUESTS)()
        rounds, requests = (5, 10) if options.quick else (ROUNDS, REQUESTS)
        mine, theirs = interleave(_median_of(ours, requests), _median_of(peer, requests), rounds)
        answered = statistics.median(_median_of(waited, requests)() for _ in range(3))
    kind = (
        f"SQLite, {journal_mode()} journal"
        if database_url is None
        else "PostgreSQL on a Unix socket, as the tests run it (fsync off)"
    )
    conditions = (
        f"p50 of {requests} sequential requests per round, warm; LSTM(128), {kind}, Redis "
        "on a Unix socket, API and one CPU worker on this machine; with `Prefer: wait=10` the "
        f"text arrives after {answered * 1e3:.1f} ms; peer: a bare Celery no-op round "
        "trip on the same Redis"
    )
    return row(name, [1e3 * s for s in mine], [1e3 * s for s in theirs], "ms", TARGET, conditions)


def _evening(options: Options) -> list[Row]:
    """Measure four texts of 400 characters over HTTP, and the time to the first character."""
    script = KerasScript(random_weights(CLASSIC))
    characters = EVENING_LENGTH * len(TEMPERATURES)
    rounds = 5 if options.quick else ROUNDS
    rows = []
    with ExitStack() as stack:
        quire = stack.enter_context(running())
        peer = stack.enter_context(noop(quire))
        models = {
            "serve/evening": (train(quire.client, units=256), 1000, "preset default, 256 units"),
            "serve/evening_classic": (
                train(quire.client, preset="classic", sample=None),
                300,
                "preset classic, LSTM(128), windows of 60",
            ),
        }
        for name, (model, target, description) in models.items():
            body = {"model": model, "temperature": TEMPERATURES, "length": EVENING_LENGTH}

            def ours(body: dict[str, Any] = body) -> None:
                answer = quire.client.call("POST", "/v1/generate", body, Prefer="wait=30")
                if len(answer["texts"]) != len(TEMPERATURES):
                    raise RuntimeError(f"no texts arrived: {answer}")

            ours()
            mine, theirs = interleave(
                _median_of(ours, 5),
                lambda: characters * script.seconds_per_character(10 if options.quick else 30),
                rounds,
            )
            conditions = (
                f"{description}; 4 temperatures of {EVENING_LENGTH} characters, POST with "
                "`Prefer: wait`, p50; peer: the script's model.predict for each character, "
                "measured on some characters and extrapolated"
            )
            rows.append(row(name, mine, theirs, "s", target, conditions))
        rows.append(_first_character(quire, models["serve/evening"][0], peer, options))
    return rows


def _first_character(quire: Stack, model: str, peer: Callable[[], None], options: Options) -> Row:
    count = 20 if options.quick else 60
    body = {"model": model, "length": EVENING_LENGTH, **PROMPT}
    for _ in range(5):
        _first(quire, body)
    mine, theirs = [], []
    for _ in range(count):
        theirs.append(_median_of(peer, 3)())
        mine.append(_first(quire, body))
    p95 = 1e3 * statistics.quantiles(mine, n=20)[-1]
    unseen = []
    for seed in range(3 if options.quick else 10):
        checkpoint = another_checkpoint(quire, model, seed)
        unseen.append(1e3 * _first(quire, body | {"checkpoint": checkpoint}))
    conditions = (
        f"preset default, 256 units, warm and idle, {count} times: POST, then the first piece of "
        f"`GET /v1/jobs/ID/events`; p95 {p95:.1f} ms (at most {FIRST_P95_MS:g}); with a checkpoint "
        f"of a known shape that no worker has loaded {statistics.median(unseen):.1f} ms (at most "
        f"{UNSEEN_MS:g}); peer: a bare Celery no-op round trip"
    )
    return row(
        "serve/first_character",
        [1e3 * s for s in mine],
        [1e3 * s for s in theirs],
        "ms",
        0.5,
        conditions,
        also=p95 <= FIRST_P95_MS and statistics.median(unseen) <= UNSEEN_MS,
    )


def _first(quire: Stack, body: dict[str, Any]) -> float:
    """Return the seconds from the request to the first character, by Server-Sent Events."""
    started = time.perf_counter()
    job = quire.client.call("POST", "/v1/generate", body)
    connection = http.client.HTTPConnection(quire.client.connection.host, quire.port, timeout=60)
    headers = {"Authorization": f"Bearer {quire.client.key}"}
    connection.request("GET", f"/v1/jobs/{job['id']}/events", headers=headers)
    response = connection.getresponse()
    while line := response.readline():
        if line.startswith((b"event: piece", b"event: text")):
            seconds = time.perf_counter() - started
            while b'"status": "succeeded"' not in line:
                line = response.readline() or b'"status": "succeeded"'
            connection.close()
            return seconds
    raise RuntimeError(f"nothing arrived: {json.dumps(job)}")


def _median_of(work: Callable[[], None], requests: int) -> Callable[[], float]:
    def measure_one() -> float:
        started = time.perf_counter()
        work()
        return time.perf_counter() - started

    return lambda: statistics.median(measure_one() for _ in range(requests))


if __name__ == "__main__":
    main("Serving: one client", measure)
