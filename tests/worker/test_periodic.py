"""The periodic thread survives errors, and logs an outage once."""

import threading

import pytest
from sqlalchemy import exc
from structlog.testing import capture_logs

from tests.services.waiting import until
from worker.execution.periodic import PeriodicThread

AWAY = exc.OperationalError("SELECT", {}, Exception("no route to host"))


def run_with(outcomes: list[Exception | None]) -> list[str]:
    """The log events of a thread whose calls end as listed."""
    remaining = iter(outcomes)
    done = threading.Event()

    def call() -> None:
        try:
            error = next(remaining)
        except StopIteration:
            done.set()
            return
        if error is not None:
            raise error

    with capture_logs() as logs:
        thread = PeriodicThread("example", call, 0.001, immediately=True)
        thread.start()
        assert done.wait(20)
        thread.stop()
    return [entry["event"] for entry in logs]


@pytest.mark.parametrize(
    ("outcomes", "events"),
    [
        ([None, None], []),
        ([ValueError(), None, ValueError()], ["periodic_task_failed"] * 2),
        ([AWAY, AWAY, None, AWAY], ["database_away", "database_away"]),
    ],
)
def test_no_error_ends_the_thread(outcomes: list[Exception | None], events: list[str]) -> None:
    assert run_with(outcomes) == events


@pytest.mark.parametrize(("immediately", "calls"), [(True, 1), (False, 0)])
def test_the_first_call_comes_at_once_or_after_the_interval(immediately: bool, calls: int) -> None:
    made: list[None] = []
    thread = PeriodicThread("example", lambda: made.append(None), 3600, immediately=immediately)
    thread.start()
    if calls:
        until(lambda: len(made) == calls, "the first call")
    thread.stop()
    assert len(made) == calls
