"""One job's fault in a batch runner does not affect the jobs beside it."""

import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import exc, update

from shared.queue.errors import LeaseLost
from shared.queue.types import Claim
from shared.tables import Job
from tests.worker.batch_runner import (
    ENDLESS,
    bare_harness,
    make_batch_runner,
    make_model,
    run,
    running,
    write,
)
from tests.worker.harness import WorkerHarness, until


@pytest.fixture
def harness(database_url: str, tmp_path: Path) -> Iterator[WorkerHarness]:
    with bare_harness(database_url, tmp_path) as harness:
        yield harness


@pytest.fixture
def model(harness: WorkerHarness) -> str:
    return make_model(harness)


def expire_lease(harness: WorkerHarness, job_id: str, **values: Any) -> None:
    """Expire a job's lease; `values` are more columns to change."""
    with harness.engine.begin() as connection:
        passed = harness.queue.clock(connection) - timedelta(seconds=1)
        values |= {"lease_expires_at": passed}
        connection.execute(update(Job).where(Job.id == job_id).values(**values))


def test_a_job_that_cannot_start_fails_alone(harness: WorkerHarness, model: str) -> None:
    good = [harness.generate(model, wake=False, seed=seed) for seed in range(3)]
    invalid = harness.generate(model, wake=False, prompt="The €")
    gone = harness.generate(make_model(harness, 3), wake=False)
    with harness.engine.begin() as connection:
        connection.execute(update(Job).where(Job.id == gone).values(model_id=None))
    missing = harness.generate(model, wake=False, checkpoint="0190a5da-ac96-774b-bcce-b302099a8057")
    assert run(harness) == 6
    for job_id in good:
        harness.wait_until_succeeded(job_id, 0)
    for job_id, slug in (
        (invalid, "unknown-character"),
        (gone, "model-deleted"),
        (missing, "no-checkpoint"),
    ):
        job = harness.job(job_id)
        assert job.status == "failed"
        assert job.error is not None
        assert job.error["type"] == f"/problems/{slug}"


def test_a_broken_sequence_fails_its_job_alone(
    harness: WorkerHarness, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, bad = (harness.generate(model, wake=False, seed=seed) for seed in (1, 2))
    batch_runner = make_batch_runner(harness)
    admit = batch_runner._engine.add

    def break_one(sequence: Any, *arguments: Any, **named: Any) -> None:
        if sequence.request.seed == 2:
            sequence.state = sequence.state[..., :3]
        admit(sequence, *arguments, **named)

    monkeypatch.setattr(batch_runner._engine, "add", break_one)
    batch_runner.run_all("a wake")
    batch_runner._heartbeat.stop()
    harness.wait_until_succeeded(good, 0)
    error = harness.job(bad).error
    assert error is not None
    assert error["type"] == "/problems/unexpected-error"


def test_a_lost_lease_affects_no_other_job(harness: WorkerHarness, model: str) -> None:
    lost, other = (harness.generate(model, wake=False, length=ENDLESS, seed=s) for s in (1, 2))
    batch_runner = make_batch_runner(harness)
    with running(batch_runner):
        until(lambda: harness.job(other).status == "running", "both jobs")
        expire_lease(harness, lost, attempt=2)  # as a rescue and another claim would
        until(lambda: (lost, 1) not in batch_runner._runs, "the end of the lost run", 10)
        time.sleep(2.5)  # longer than a lease: the other one was renewed
        assert harness.job(other).status == "running"
        harness.cancel(other)
        assert harness.wait_until_ended(other).status == "cancelled"
    job = harness.job(lost)
    assert (job.status, job.attempt) == ("running", 2)
    assert harness.texts(lost) == []
    assert harness.texts(other)


def test_an_outcome_that_cannot_be_persisted_fails_alone(
    harness: WorkerHarness, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = [harness.generate(model, wake=False, seed=seed) for seed in range(3)]
    bad = harness.generate(model, wake=False, seed=3)
    finish, sizes = harness.queue.finish, []

    def reject_one(outcomes: Any, **named: Any) -> Any:
        sizes.append(len(outcomes))
        if any(claim.job_id == bad for claim, _ in outcomes):
            raise exc.DataError("INSERT", {}, Exception("a text that no database takes"))
        return finish(outcomes, **named)

    monkeypatch.setattr(harness.queue, "finish", reject_one)
    run(harness)
    assert max(sizes) == 4, "jobs that finish together are persisted together"
    for job_id in good:
        harness.wait_until_succeeded(job_id, 0)
    assert harness.job(bad).status == "failed"


def test_an_outcome_waits_for_a_database_that_comes_back(
    harness: WorkerHarness, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = harness.generate(model, wake=False)
    finish, tries = harness.queue.finish, []

    def fail_once(*arguments: Any, **named: Any) -> Any:
        tries.append(arguments)
        if len(tries) == 1:
            raise exc.OperationalError("UPDATE", {}, Exception("the database is starting up"))
        return finish(*arguments, **named)

    monkeypatch.setattr(harness.queue, "finish", fail_once)
    run(harness)
    harness.wait_until_succeeded(job_id, 0)


def test_a_claim_without_a_database_is_no_error(
    harness: WorkerHarness, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.generate(model, wake=False)

    def away(*_: object, **__: object) -> None:
        raise exc.OperationalError("SELECT", {}, Exception("no route to host"))

    monkeypatch.setattr(harness.queue, "claim", away)
    assert run(harness) == 0


def test_a_crash_of_the_batch_runner_releases_every_lease(
    harness: WorkerHarness, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = harness.generate(model, wake=False)
    batch_runner = make_batch_runner(harness)

    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(batch_runner._engine, "step", fail)
    with pytest.raises(ZeroDivisionError):
        batch_runner.run_all("a wake")
    assert harness.job(job_id).status == "running"
    until(
        lambda: [rescue.job_id for rescue in harness.queue.rescue()] == [job_id], "the rescue", 10
    )
    batch_runner._heartbeat.stop()
    run(harness)
    assert harness.wait_until_succeeded(job_id, 0).attempt == 2


def test_a_lease_lost_at_a_deadline_leaves_no_truncated_text(
    harness: WorkerHarness, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    [whole] = write(harness, model, length=100_000)
    job_id = harness.generate(
        model, wake=False, length=100_000, scheduling={"deadline_seconds": 0.1}
    )

    def lose_lease(claim: Claim, *_: object, **__: object) -> None:
        raise LeaseLost(claim)

    with monkeypatch.context() as patched:
        patched.setattr(harness.queue, "fail", lose_lease)
        run(harness)
    until(lambda: harness.queue.rescue(), "the rescue", 10)
    with harness.engine.begin() as connection:
        connection.execute(update(Job).where(Job.id == job_id).values(deadline_seconds=None))
    run(harness)
    assert harness.wait_until_succeeded(job_id, 0).attempt == 2
    [text] = harness.texts(job_id)
    assert (text.text, text.finish_reason) == (whole.text, "length")


def test_a_job_that_was_lost_and_reclaimed_runs_once(harness: WorkerHarness, model: str) -> None:
    job_id = harness.generate(model, wake=False, length=ENDLESS)
    batch_runner = make_batch_runner(harness)
    with running(batch_runner):
        until(lambda: (job_id, 1) in batch_runner._runs, "the first attempt")
        expire_lease(harness, job_id)
        assert [rescue.job_id for rescue in harness.queue.rescue()] == [job_id]
        until(lambda: list(batch_runner._runs) == [(job_id, 2)], "the second attempt alone", 10)
        time.sleep(2.5)  # longer than a lease, which is renewed
        assert harness.queue.rescue() == []
        harness.cancel(job_id)
    assert harness.job(job_id).status == "cancelled"
    assert not len(batch_runner._engine)
    assert not batch_runner._heartbeat._watchdog.armed


@pytest.mark.parametrize("broken", [["cancelled"], ["cancelled", "fail"]])
def test_an_outcome_that_raises_affects_no_other_job(
    harness: WorkerHarness, model: str, monkeypatch: pytest.MonkeyPatch, broken: list[str]
) -> None:
    ended, other = (harness.generate(model, wake=False, length=ENDLESS, seed=s) for s in (1, 2))
    batch_runner = make_batch_runner(harness)

    def refuse(*_: object, **__: object) -> None:
        raise exc.DataError("INSERT", {}, Exception("a text that no database takes"))

    with running(batch_runner):
        until(lambda: len(batch_runner._runs) == 2, "both jobs")
        with monkeypatch.context() as patched:
            for name in broken:
                patched.setattr(harness.queue, name, refuse)
            invalid = harness.generate(model, wake=False, prompt="The €")
            harness.cancel(ended)
            until(lambda: harness.job(invalid).attempt == 1, "the start of the invalid job")
            until(
                lambda: list(batch_runner._leases) == [(other, 1)], "the release of the others", 10
            )
        # Jobs whose failure could not be persisted either are left to the rescue. The other job's
        # lease is renewed.
        time.sleep(2.5)
        rescued = {rescue.job_id for rescue in harness.queue.rescue()}
        assert rescued == ({ended, invalid} if "fail" in broken else set())
        harness.cancel(other)
    assert harness.job(other).status == "cancelled"
    assert harness.texts(other)
    assert harness.job(ended).status == ("cancelled" if "fail" in broken else "failed")
    assert harness.job(invalid).status == "failed"
