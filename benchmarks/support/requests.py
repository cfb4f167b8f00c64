"""Single requests that the serving benchmarks time."""

import http.client
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

from benchmarks.support.stack import Client, Stack


def median_of(work: Callable[[], None], requests: int) -> Callable[[], float]:
    """Create a measurement: the median seconds of some calls of `work`."""

    def measure_one() -> float:
        started = time.perf_counter()
        work()
        return time.perf_counter() - started

    return lambda: statistics.median(measure_one() for _ in range(requests))


def seconds_to_first_chunk(client: Client, body: dict[str, Any]) -> float:
    """Return the seconds from the request to the first character, of a stream that it opens."""
    started, seconds = time.perf_counter(), None
    response = client.send("POST", "/openai/v1/completions", body | {"stream": True})
    lines = []
    # To its end, so that the connection can be used again.
    while line := response.readline():
        lines.append(line)
        is_chunk = seconds is None and line.startswith(b"data: {")
        if is_chunk and json.loads(line[6:])["choices"][0]["text"]:
            seconds = time.perf_counter() - started
    if seconds is None or lines[-2] != b"data: [DONE]\n":
        raise RuntimeError(f"the text did not arrive: {lines}")
    return seconds


def seconds_to_first_event(quire: Stack, body: dict[str, Any]) -> float:
    """Return the seconds from a request to the first character in the job's event stream."""
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


def text_in_response(client: Client, body: dict[str, Any], length: int, texts: int = 1) -> None:
    """Request texts, and wait for them in the response."""
    answer = client.call("POST", "/v1/generate", body, Prefer="wait=30")
    written = [len(text["text"]) for text in answer.get("texts", ())]
    if written != [length] * texts:
        raise RuntimeError(f"no texts arrived: {answer}")
