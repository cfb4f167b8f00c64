"""Serving: the time to a text's first character, and a text beside a flood."""

import json
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from benchmarks.support.harness import Options, Row, main, row
from benchmarks.support.http_load import Target, closed_loop
from benchmarks.support.plain_peer import PlainPeer, plain_peer
from benchmarks.support.requests import (
    median_of,
    seconds_to_first_chunk,
    seconds_to_first_event,
    text_in_response,
)
from benchmarks.support.stack import Client, Stack, another_checkpoint, another_user, running, train

LENGTH, FLOOD_LENGTH, FLOOD_TEXTS, FLOOD_CONNECTIONS = 200, 2_000, 1_000, 64
FULL_BATCH = 32
FOLLOWED_LENGTH, WARM_UP_ROUNDS = 400, 5
PROMPT = {"prompt": "The "}
#: Limits of the time to the first character, with a loaded checkpoint and with a new one.
FIRST_P95_MS, UNSEEN_MS = 50.0, 150.0


def measure(options: Options) -> list[Row]:
    """Measure the requested rows."""
    rows: list[Row] = []
    if options.wants("serve/first_character"):
        rows.append(_first_character_row(options))
    if options.wants("serve/beside_a_flood"):
        rows.append(_flood_row(options))
    return rows


def _first_character_row(options: Options) -> Row:
    count = 20 if options.quick else 60
    with ExitStack() as stack:
        quire = stack.enter_context(running())
        model = train(quire.client)
        checkpoint = another_checkpoint(quire, model, 0)
        peer = stack.enter_context(plain_peer(quire, [checkpoint], 1))
        body: dict[str, Any] = {"model": model, "length": FOLLOWED_LENGTH, **PROMPT}
        request = {"model": model, "max_tokens": FOLLOWED_LENGTH, **PROMPT}
        whole = median_of(partial(_text_of_one_character, peer), 1)
        first_chunk = partial(seconds_to_first_chunk, quire.client, request)
        first_event = partial(seconds_to_first_event, quire, body)
        ways = whole, first_chunk, first_event
        rounds = [[way() for way in ways] for _ in range(WARM_UP_ROUNDS + count)]
        theirs, mine, by_two_requests = zip(*rounds[WARM_UP_ROUNDS:], strict=True)
        unseen = []
        for seed in range(1, 4 if options.quick else 11):
            new = another_checkpoint(quire, model, seed)
            unseen.append(1e3 * seconds_to_first_event(quire, body | {"checkpoint": new}))
    p95 = 1e3 * statistics.quantiles(mine, n=20)[-1]
    conditions = (
        f"LSTM(128), warm and idle, {count} times: the first chunk of `POST "
        f"/openai/v1/completions` with `stream`; p95 {p95:.1f} ms (at most {FIRST_P95_MS:g}); by "
        f"two requests, `POST /v1/generate` and the first piece of `GET /v1/jobs/ID/events`, "
        f"{1e3 * statistics.median(by_two_requests):.1f} ms, and with a checkpoint of a known "
        f"shape that no worker has loaded {statistics.median(unseen):.1f} ms (at most "
        f"{UNSEEN_MS:g}); peer: the plain service's whole text of one character, by one request"
    )
    return row(
        "serve/first_character",
        [1e3 * seconds for seconds in mine],
        [1e3 * seconds for seconds in theirs],
        "ms",
        0.9,
        conditions,
        also=p95 <= FIRST_P95_MS and statistics.median(unseen) <= UNSEEN_MS,
    )


def _text_of_one_character(peer: PlainPeer) -> None:
    body = {"checkpoint": "0", "length": 1, **PROMPT}
    answer = peer.client.call("POST", "/generate", body)
    if len(answer["text"]) != 1:
        raise RuntimeError(f"no text arrived: {answer}")


def _flood_row(options: Options) -> Row:
    """Time one user's texts while another has a thousand queued and holds 64 connections."""
    count = 10 if options.quick else 40
    with running() as quire:
        model = train(quire.client)
        light = another_user(quire, "light")
        quire.client.call("PATCH", f"/v1/models/{model}", {"visibility": "server"})
        body = {"model": model, "length": LENGTH, **PROMPT}
        ask = partial(text_in_response, light, body, LENGTH)
        _warm_up(quire, model)
        quiet = [median_of(ask, 1)() for _ in range(count)]
        block = _block_seconds(light, model)
        with _flood(quire, model):
            beside = [median_of(ask, 1)() for _ in range(count)]
    limit = 2 * statistics.median(quiet) + block
    conditions = (
        f"p50 of {count} texts of {LENGTH} characters that one user requests one after the other, "
        f"while another has up to {FLOOD_TEXTS:,} texts of {FLOOD_LENGTH:,} characters queued and "
        f"{FLOOD_CONNECTIONS} connections that request more, LSTM(128), SQLite; peer: the limit, "
        f"twice its own quiet latency ({1e3 * statistics.median(quiet):.1f} ms) and the time that "
        f"{FULL_BATCH} texts at once take for {LENGTH} characters ({1e3 * block:.1f} ms)"
    )
    return row(
        "serve/beside_a_flood",
        [1e3 * seconds for seconds in beside],
        [1e3 * limit],
        "ms",
        1.0,
        conditions,
    )


def _block_seconds(client: Client, model: str) -> float:
    """Return how long a full batch takes for the characters of one text."""

    def of(length: int) -> float:
        body = {"model": model, "length": length, "n": FULL_BATCH, **PROMPT}
        return median_of(partial(text_in_response, client, body, length, FULL_BATCH), 3)()

    of(1), of(LENGTH)
    return max(0.0, of(LENGTH) - of(1))


def _warm_up(quire: Stack, model: str) -> None:
    body = json.dumps({"model": model, "length": LENGTH, **PROMPT})
    target = Target(
        *(quire.port, "POST", "/v1/generate", quire.client.key, [body], "wait=30"),
        mark='"finish_reason":',
    )
    for connections in (1, 4, FLOOD_CONNECTIONS):
        closed_loop(target, connections, 2.0)


@contextmanager
def _flood(quire: Stack, model: str) -> Iterator[None]:
    """Queue a thousand texts, and go on as fast as they are written."""
    heavy = quire.connect()
    body = {"model": model, "length": FLOOD_LENGTH, **PROMPT}
    for _ in range(FLOOD_TEXTS - FLOOD_CONNECTIONS):
        heavy.call("POST", "/v1/generate", body)
    stopping = threading.Event()

    def request_more() -> None:
        client = quire.connect()
        while not stopping.is_set():
            try:
                client.call("POST", "/v1/generate", body, Prefer="wait=30")
            except RuntimeError:
                # The cap on queued jobs: the flood is as large as it may be.
                time.sleep(1.0)

    threads = [threading.Thread(target=request_more) for _ in range(FLOOD_CONNECTIONS)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stopping.set()
        for thread in threads:
            thread.join()


if __name__ == "__main__":
    main("Serving: latency", measure)
