"""The networks in use are bounded: jobs of others wait for room, and all are done."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select

from shared.queue.errors import AlreadyEnded
from shared.scheduling import network_memory
from shared.scheduling.network_memory import LOAD_COPIES
from shared.tables import Checkpoint
from tests.worker.batch_runner import (
    ENDLESS,
    SMALL,
    bare_harness,
    make_batch_runner,
    make_model,
    running,
)
from tests.worker.harness import WorkerHarness, until
from worker.execution.batching.batch_runner import BatchRunner

LARGE = replace(SMALL, units=64)


@pytest.fixture
def harness(database_url: str, tmp_path: Path) -> Iterator[WorkerHarness]:
    with bare_harness(database_url, tmp_path) as harness:
        yield harness


def needed_bytes(harness: WorkerHarness, model: str) -> int:
    """What loading a model's network takes."""
    with harness.engine.connect() as connection:
        size = connection.scalar(select(Checkpoint.size_bytes).where(Checkpoint.model_id == model))
    assert size is not None
    return LOAD_COPIES * size


def running_models(batch_runner: BatchRunner) -> list[str | None]:
    return [run.lease.claim.model_id for run in list(batch_runner._runs.values())]


def test_a_network_waits_for_room_while_others_pass(harness: WorkerHarness) -> None:
    small, large = make_model(harness), make_model(harness, network=LARGE)
    memory_bytes = needed_bytes(harness, large) + needed_bytes(harness, small) // 2
    endless = harness.generate(small, wake=False, length=ENDLESS)
    batch_runner = make_batch_runner(harness, memory_bytes=memory_bytes)
    with running(batch_runner):
        until(lambda: harness.job(endless).status == "running", "the endless text")
        # The first in the line has no room, and its user's line stands; those of others go on.
        waits = harness.generate(large, wake=False, user="bob")
        passes = [harness.generate(small, wake=False, user=user) for user in ("eve", "zoe", "eve")]
        for job_id in passes:
            harness.wait_until_succeeded(job_id)
        assert harness.job(waits).status == "queued"
        assert running_models(batch_runner) == [small]
        harness.cancel(endless)
        harness.wait_until_succeeded(waits)


def test_a_line_of_networks_that_have_no_room_blocks_nobody(harness: WorkerHarness) -> None:
    small, large = make_model(harness), make_model(harness, network=LARGE)
    endless = harness.generate(small, wake=False, length=ENDLESS)
    batch_runner = make_batch_runner(harness, memory_bytes=needed_bytes(harness, large))
    with running(batch_runner):
        until(lambda: harness.job(endless).status == "running", "the endless text")
        # More jobs than one claim picks.
        wait = [harness.generate(large, wake=False, user="bob", seed=seed) for seed in range(12)]
        harness.wait_until_succeeded(harness.generate(small, wake=False, user="eve"))
        assert {harness.job(job_id).status for job_id in wait} == {"queued"}
        harness.cancel(endless)
        for job_id in wait:
            harness.wait_until_succeeded(job_id)


def test_a_network_is_not_passed_over_for_ever(
    harness: WorkerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network_memory, "PATIENCE_SECONDS", 0.5)
    small, large = make_model(harness), make_model(harness, network=LARGE)
    batch_runner = make_batch_runner(harness, max_jobs=4, memory_bytes=needed_bytes(harness, large))
    first = harness.generate(small, wake=False, length=20_000)
    with running(batch_runner):
        until(lambda: harness.job(first).status == "running", "the first text")
        waits = harness.generate(large, wake=False, user="bob")
        # Without an end of the line of texts of the other network.
        more = [
            harness.generate(small, wake=False, user="eve", length=20_000, seed=seed)
            for seed in range(30)
        ]
        harness.wait_until_succeeded(waits)
        assert "queued" in {harness.job(job_id).status for job_id in more}
        for job_id in more:
            with suppress(AlreadyEnded):
                harness.cancel(job_id)


def test_a_network_that_never_fits_fails_its_job_with_the_reason(harness: WorkerHarness) -> None:
    small, large = make_model(harness), make_model(harness, network=LARGE)
    batch_runner = make_batch_runner(harness, memory_bytes=needed_bytes(harness, small))
    jobs = [harness.generate(model, wake=False) for model in (large, small)]
    with running(batch_runner):
        refused, done = [harness.wait_until_ended(job_id) for job_id in jobs]
    assert (refused.status, done.status) == ("failed", "succeeded")
    assert refused.error["type"] == "/problems/does-not-fit"
    assert "QUIRE_GENERATE_MEMORY_BYTES" in refused.error["detail"]
