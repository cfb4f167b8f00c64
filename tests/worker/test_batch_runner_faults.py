"""What goes wrong at a batch_runner with one job, and what the jobs beside it notice: nothing."""

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
    at_work,
    bare_world,
    make_batch_runner,
    make_model,
    run,
    write,
)
from tests.worker.harness import World, until


@pytest.fixture
def world(database_url: str, tmp_path: Path) -> Iterator[World]:
    with bare_world(database_url, tmp_path) as world:
        yield world


@pytest.fixture
def model(world: World) -> str:
    return make_model(world)


def end_lease(world: World, job_id: str, **values: Any) -> None:
    """Let the lease of a job run out now; `values` are more of its columns."""
    with world.engine.begin() as connection:
        passed = world.queue.clock(connection) - timedelta(seconds=1)
        values |= {"lease_expires_at": passed}
        connection.execute(update(Job).where(Job.id == job_id).values(**values))


def test_a_job_that_can_not_be_written_fails_alone(world: World, model: str) -> None:
    good = [world.generate(model, wake=False, seed=seed) for seed in range(3)]
    strange = world.generate(model, wake=False, prompt="The €")
    gone = world.generate(make_model(world, 3), wake=False)
    with world.engine.begin() as connection:
        connection.execute(update(Job).where(Job.id == gone).values(model_id=None))
    nothing = world.generate(model, wake=False, checkpoint="0190a5da-ac96-774b-bcce-b302099a8057")
    assert run(world) == 6
    for job_id in good:
        world.succeeded(job_id, 0)
    for job_id, slug in (
        (strange, "unknown-character"),
        (gone, "model-deleted"),
        (nothing, "no-checkpoint"),
    ):
        job = world.job(job_id)
        assert job.status == "failed"
        assert job.error is not None
        assert job.error["type"] == f"/problems/{slug}"


def test_a_stream_that_breaks_fails_its_job_alone(
    world: World, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, bad = (world.generate(model, wake=False, seed=seed) for seed in (1, 2))
    batch_runner = make_batch_runner(world)
    admit = batch_runner._engine.add

    def broken(sequence: Any, *arguments: Any, **named: Any) -> None:
        if sequence.request.seed == 2:
            sequence.state = sequence.state[..., :3]
        admit(sequence, *arguments, **named)

    monkeypatch.setattr(batch_runner._engine, "add", broken)
    batch_runner.run_all("a wake")
    batch_runner._heartbeat.stop()
    world.succeeded(good, 0)
    error = world.job(bad).error
    assert error is not None
    assert error["type"] == "/problems/unexpected-error"


def test_a_lost_lease_harms_no_mate(world: World, model: str) -> None:
    lost, mate = (world.generate(model, wake=False, length=ENDLESS, seed=s) for s in (1, 2))
    batch_runner = make_batch_runner(world)
    with at_work(batch_runner):
        until(lambda: world.job(mate).status == "running", "both")
        end_lease(world, lost, attempt=2)  # a rescue and another worker's claim, in one moment
        until(lambda: (lost, 1) not in batch_runner._runs, "the end of the lost run", 10)
        time.sleep(2.5)  # longer than a lease: the mate's was renewed
        assert world.job(mate).status == "running"
        world.cancel(mate)
        assert world.ended(mate).status == "cancelled"
    job = world.job(lost)
    assert (job.status, job.attempt) == ("running", 2)
    assert world.texts(lost) == []
    assert world.texts(mate)


def test_an_end_that_can_not_be_written_fails_alone(
    world: World, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = [world.generate(model, wake=False, seed=seed) for seed in range(3)]
    bad = world.generate(model, wake=False, seed=3)
    finish, sizes = world.queue.finish, []

    def picky(outcomes: Any, **named: Any) -> Any:
        sizes.append(len(outcomes))
        if any(claim.job_id == bad for claim, _ in outcomes):
            raise exc.DataError("INSERT", {}, Exception("a text that no database takes"))
        return finish(outcomes, **named)

    monkeypatch.setattr(world.queue, "finish", picky)
    run(world)
    assert max(sizes) == 4, "all that ended together are written together"
    for job_id in good:
        world.succeeded(job_id, 0)
    assert world.job(bad).status == "failed"


def test_an_end_waits_for_a_database_that_comes_back(
    world: World, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = world.generate(model, wake=False)
    finish, tries = world.queue.finish, []

    def sometimes(*arguments: Any, **named: Any) -> Any:
        tries.append(arguments)
        if len(tries) == 1:
            raise exc.OperationalError("UPDATE", {}, Exception("the database is starting up"))
        return finish(*arguments, **named)

    monkeypatch.setattr(world.queue, "finish", sometimes)
    run(world)
    world.succeeded(job_id, 0)


def test_a_claim_without_a_database_is_no_error(
    world: World, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.generate(model, wake=False)

    def away(*_: object, **__: object) -> None:
        raise exc.OperationalError("SELECT", {}, Exception("no route to host"))

    monkeypatch.setattr(world.queue, "claim", away)
    assert run(world) == 0


def test_a_fault_of_the_desk_lets_go_of_every_lease(
    world: World, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = world.generate(model, wake=False)
    batch_runner = make_batch_runner(world)

    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(batch_runner._engine, "step", fail)
    with pytest.raises(ZeroDivisionError):
        batch_runner.run_all("a wake")
    assert world.job(job_id).status == "running"
    until(lambda: [rescue.job_id for rescue in world.queue.rescue()] == [job_id], "the rescue", 10)
    batch_runner._heartbeat.stop()
    run(world)
    assert world.succeeded(job_id, 0).attempt == 2


def test_who_dies_at_a_deadline_leaves_no_text_cut_off(
    world: World, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    [whole] = write(world, model, length=100_000)
    job_id = world.generate(model, wake=False, length=100_000, order={"deadline_seconds": 0.1})

    def die(claim: Claim, *_: object, **__: object) -> None:
        raise LeaseLost(claim)

    with monkeypatch.context() as patched:
        patched.setattr(world.queue, "fail", die)
        run(world)
    until(lambda: world.queue.rescue(), "the rescue", 10)
    with world.engine.begin() as connection:
        connection.execute(update(Job).where(Job.id == job_id).values(deadline_seconds=None))
    run(world)
    assert world.succeeded(job_id, 0).attempt == 2
    [text] = world.texts(job_id)
    assert (text.text, text.finish_reason) == (whole.text, "length")


def test_a_job_that_a_desk_lost_and_claimed_again_runs_once(world: World, model: str) -> None:
    job_id = world.generate(model, wake=False, length=ENDLESS)
    batch_runner = make_batch_runner(world)
    with at_work(batch_runner):
        until(lambda: (job_id, 1) in batch_runner._runs, "the first attempt")
        end_lease(world, job_id)
        assert [rescue.job_id for rescue in world.queue.rescue()] == [job_id]
        until(lambda: list(batch_runner._runs) == [(job_id, 2)], "the second alone", 10)
        time.sleep(2.5)  # longer than a lease: it is renewed
        assert world.queue.rescue() == []
        world.cancel(job_id)
    assert world.job(job_id).status == "cancelled"
    assert not len(batch_runner._engine)
    assert not batch_runner._heartbeat._watchdog._watching


@pytest.mark.parametrize("broken", [["cancelled"], ["cancelled", "fail"]])
def test_an_end_that_raises_harms_no_mate(
    world: World, model: str, monkeypatch: pytest.MonkeyPatch, broken: list[str]
) -> None:
    ended, mate = (world.generate(model, wake=False, length=ENDLESS, seed=s) for s in (1, 2))
    batch_runner = make_batch_runner(world)

    def refuse(*_: object, **__: object) -> None:
        raise exc.DataError("INSERT", {}, Exception("a text that no database takes"))

    with at_work(batch_runner):
        until(lambda: len(batch_runner._runs) == 2, "both")
        with monkeypatch.context() as patched:
            for name in broken:
                patched.setattr(world.queue, name, refuse)
            strange = world.generate(model, wake=False, prompt="The €")
            world.cancel(ended)
            until(lambda: world.job(strange).attempt == 1, "the strange one")
            until(lambda: list(batch_runner._leases) == [(mate, 1)], "their ends", 10)
        # Those whose failure could not be written either are left to the rescue; of the mate the
        # lease is renewed.
        time.sleep(2.5)
        rescued = {rescue.job_id for rescue in world.queue.rescue()}
        assert rescued == ({ended, strange} if "fail" in broken else set())
        world.cancel(mate)
    assert world.job(mate).status == "cancelled"
    assert world.texts(mate)
    assert world.job(ended).status == ("cancelled" if "fail" in broken else "failed")
    assert world.job(strange).status == "failed"
