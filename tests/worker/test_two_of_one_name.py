"""Two workers under one name, as real processes: a copied `.env`, a restart, a frozen machine."""

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil
import pytest
from sqlalchemy import update

from shared.tables import Device
from tests.worker.harness import (
    Worker,
    WorkerHarness,
    continue_process,
    some_text,
    stop_process,
    until,
)

pytestmark = pytest.mark.slow

NAME = "twin"
EXIT_NAME_TAKEN = 3
END_SECONDS = 40.0


def events(worker: Worker, name: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in worker.log.splitlines() if line.startswith("{")]
    return [line for line in lines if line.get("event") == name]


def instances(harness: WorkerHarness) -> set[str | None]:
    return {row.instance_id for row in harness.devices(NAME)}


@contextmanager
def frozen(worker: Worker) -> Iterator[None]:
    """Freeze all processes of a worker inside the block, as a suspended machine does."""
    process = psutil.Process(worker.process.pid)
    pids = [process.pid, *(child.pid for child in process.children(recursive=True))]
    for pid in pids:
        stop_process(pid)
    try:
        yield
    finally:
        for pid in pids:
            continue_process(pid)


def test_the_second_is_refused_and_the_first_goes_on(harness: WorkerHarness) -> None:
    harness.corpus(some_text())
    with harness.worker(host=NAME) as first:
        held_by = instances(harness)
        with harness.worker(host=NAME, ready=False) as second:
            assert second.process.wait(END_SECONDS) == EXIT_NAME_TAKEN
            [waiting], [refusal] = (
                events(second, "worker_name_held"),
                events(second, "worker_name_taken"),
            )
        assert waiting["worker"].startswith(f"{NAME}/cpu/")
        assert f"'{NAME}'" in refusal["reason"]
        assert "QUIRE_HOST_NAME" in refusal["reason"]
        # The end of the second drained nobody.
        assert instances(harness) == held_by
        assert not any(row.drain_requested_at for row in harness.devices(NAME))
        job = harness.wait_until_succeeded(harness.train(epochs=1))
        assert job.worker_id == f"{NAME}/cpu/train"
        assert not events(first, "worker_replaced")
    assert harness.devices(NAME) == [], "a clean stop leaves no name behind"


def test_the_one_that_was_replaced_notices_and_stops(harness: WorkerHarness) -> None:
    harness.corpus(some_text())
    with harness.worker(host=NAME) as first:
        before = instances(harness)
        with frozen(first):
            # As seen from another container, the first may or may not have ended.
            with harness.engine.begin() as connection:
                connection.execute(update(Device).values(instance_process=None))
            stack = harness.worker(host=NAME, ready=False)
            second = stack.__enter__()
            until(lambda: not instances(harness) & before, "the second takes the name", 60)
        assert first.process.wait(END_SECONDS) == EXIT_NAME_TAKEN
        assert events(first, "worker_replaced")
        try:
            until(lambda: all(row.ready_at for row in harness.devices(NAME)), "the second", 90)
            assert not any(row.drain_requested_at for row in harness.devices(NAME))
            assert len(harness.devices(NAME)) == 2
            harness.wait_until_succeeded(harness.train(epochs=1))
            assert not events(second, "worker_replaced")
        finally:
            stack.__exit__(None, None, None)


def test_a_crashed_one_may_start_again_at_once(sqlite_harness: WorkerHarness) -> None:
    harness, patient = sqlite_harness, {"QUIRE_LEASE_SECONDS": "600"}
    with harness.worker(host=NAME, variables=patient) as first:
        before = instances(harness)
        os.kill(first.process.pid, signal.SIGKILL)
        first.process.wait()
        with harness.worker(host=NAME, ready=False, variables=patient) as second:
            until(
                lambda: (
                    len([d for d in harness.devices(NAME) if d.ready_at]) == 2
                    and not instances(harness) & before
                ),
                "the restart",
                90,
            )
            assert not events(second, "worker_name_held")
