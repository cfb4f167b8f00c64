"""The request log: bounded lines, and floods that are counted."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from api.front import Front, FrontLimits
from api.http.head_policy import ApiHeadPolicy
from api.services import EXTENSION
from api.traces.refusals import LOGGED_EACH, MOST_ADDRESSES, OTHERS
from tests.api.harness import ApiHarness, Person, problem


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """The log does not depend on the database."""
    return sqlite_url


@pytest.fixture
def log() -> Iterator[list[Any]]:
    """Collect log events."""
    with structlog.testing.capture_logs(
        processors=[structlog.contextvars.merge_contextvars]
    ) as events:
        yield events


def lines(log: list[Any], event: str = "request") -> list[Any]:
    return [each for each in log if each["event"] == event]


@pytest.mark.parametrize("status", [400, 401, 404, 429])
def test_a_flood_of_refused_requests_is_counted(
    harness: ApiHarness, ann: Person, log: list[Any], status: int
) -> None:
    refusals = harness.app.extensions[EXTENSION].refusals
    stranger = Person(harness.app.test_client(), "x", f"quire_00000000_{'0' * 64}")
    headers = {"Content-Type": "application/json"}
    send = {
        400: lambda: ann.send("POST", "/v1/train", data="{", headers=headers),
        401: lambda: stranger.get("/v1/me"),
        404: lambda: ann.get("/v1/models/nothing"),
        429: lambda: ann.post("/v1/train", {}),
    }[status]
    if status == 429:
        user_id = ann.get("/v1/me").json["id"]
        log.clear()
        # A token that was taken in an hour leaves none until then.
        harness.app.extensions[EXTENSION].creations.take(user_id, now=time.monotonic() + 3600)
    times = 40
    for _ in range(times):
        problem(send(), status)
    assert [line["status"] for line in lines(log)] == [status] * LOGGED_EACH
    refusals.flush()
    [summed] = lines(log, "requests_refused")
    assert (summed["status"], summed["count"]) == (status, times - LOGGED_EACH)
    assert summed["address"] == "127.0.0.1"
    # Who is answered is logged all the while.
    log.clear()
    ann.get("/v1/me")
    assert [line["status"] for line in lines(log)] == [200]


def test_what_the_front_refuses_is_counted_too(harness: ApiHarness, log: list[Any]) -> None:
    services = harness.app.extensions[EXTENSION]
    listener = socket.create_server(("127.0.0.1", 0))
    stopping = threading.Event()
    front = Front(
        harness.app.wsgi_app,
        listener,
        ApiHeadPolicy(harness.app),
        FrontLimits(),
        services.request_slots,
    )
    thread = threading.Thread(target=front.serve, args=(stopping, 1.0))
    thread.start()
    try:
        for _ in range(20):
            with socket.create_connection(listener.getsockname(), timeout=10) as sock:
                sock.sendall(b"NONSENSE\r\n\r\n")
                assert b" 400 " in sock.recv(100)
    finally:
        stopping.set()
        front.pull_trigger()
        thread.join()
    assert [line["status"] for line in lines(log)] == [400] * LOGGED_EACH
    services.refusals.flush()
    [summed] = lines(log, "requests_refused")
    assert (summed["status"], summed["count"]) == (400, 20 - LOGGED_EACH)


def test_a_new_minute_begins_a_new_count(harness: ApiHarness, log: list[Any]) -> None:
    refusals = harness.app.extensions[EXTENSION].refusals
    logged = [refusals.is_logged(404, "10.0.0.1", now=6000.0 + second) for second in range(8)]
    assert logged == [True] * LOGGED_EACH + [False] * (8 - LOGGED_EACH)
    assert refusals.is_logged(404, "10.0.0.1", now=6061.0)
    assert lines(log, "requests_refused")[0]["count"] == 8 - LOGGED_EACH


def test_many_addresses_do_not_fill_the_log(harness: ApiHarness, log: list[Any]) -> None:
    refusals = harness.app.extensions[EXTENSION].refusals
    logged = sum(
        refusals.is_logged(401, f"10.{number // 250}.{number % 250}.1", now=6000.0)
        for number in range(5000)
    )
    assert logged == MOST_ADDRESSES + LOGGED_EACH
    refusals.flush()
    [summed] = lines(log, "requests_refused")
    assert summed["address"] == OTHERS
    assert summed["count"] == 5000 - logged


def test_a_line_has_a_bound_and_names_the_rule(
    harness: ApiHarness, ann: Person, log: list[Any]
) -> None:
    harness.model(ann, name="my private muse")
    log.clear()
    ann.get("/v1/models/my%20private%20muse")
    ann.get("/v1/" + "x" * 100_000, headers={"User-Agent": "y" * 100_000})
    ann.send("Z" * 1000, "/v1/me")
    named, unknown, method = lines(log)
    assert named["route"] == "/v1/models/<id>"
    assert "muse" not in str(named)
    assert named["key_prefix"] == ann.key.split("_")[1]
    assert unknown["path"].startswith("/v1/xxx")
    for line in (named, unknown, method):
        assert len(json.dumps(line, default=str)) < 600
