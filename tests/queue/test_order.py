"""Order between jobs: one after another, not after a time, and not for longer than."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from shared.queue.errors import NoSuchJob, PredecessorFailed
from shared.queue.types import LeaseDirectives, problem
from tests.queue.conftest import World

ERROR = problem("x", "X", "x")


def test_it_runs_once_what_it_waits_for_has_succeeded(world: World) -> None:
    [first] = world.submit()
    [second] = world.submit(after_job_id=first)
    [text] = world.submit(kind="generate", after_job_id=first)
    [claim] = world.claim(limit=5)
    assert world.claim("generate") == []
    world.clock.move(10)
    assert world.queue.waiting(5) == [], "nobody is woken for what can't run"
    world.queue.succeed(claim)
    assert [one.job_id for one in world.claim(limit=5)] == [second]
    assert [one.job_id for one in world.claim("generate", 5)] == [text]
    assert world.events(second) == ["submitted", "unblocked", "claimed"]
    assert world.job(second).after_job_id == first


def test_after_what_has_succeeded_already_it_does_not_wait(world: World) -> None:
    [first] = world.submit()
    world.queue.succeed(*world.claim())
    [second] = world.submit(after_job_id=first)
    assert [one.job_id for one in world.claim()] == [second]


@pytest.mark.parametrize("end", ["failed", "cancelled", "cancelled before", "lost"])
def test_a_chain_fails_with_its_beginning_and_says_why(world: World, end: str) -> None:
    [first] = world.submit()
    [second] = world.submit(after_job_id=first)
    [third] = world.submit(after_job_id=second)
    [paused] = world.submit(after_job_id=second)
    world.pause(paused)
    if end == "cancelled before":
        world.cancel(first)
    elif end == "lost":
        for _ in range(world.settings.max_attempts):
            world.claim()
            world.clock.move(world.settings.lease_seconds + 1)
            world.queue.rescue()
    else:
        [claim] = world.claim()
        world.queue.fail(claim, ERROR) if end == "failed" else world.queue.cancel_claimed(claim)
    for job_id, before in ((second, first), (third, second), (paused, second)):
        job = world.job(job_id)
        assert (job.status, job.blocked_by) == ("failed", None)
        assert job.error is not None
        assert job.error["type"] == "/problems/after-failed"
        assert f"after job {before}, which" in job.error["detail"]
    assert world.claim(limit=5) == []


def test_nothing_comes_after_what_has_failed_or_is_somebody_else_s(world: World) -> None:
    [failed] = world.submit()
    world.queue.fail(world.claim()[0], ERROR)
    with pytest.raises(PredecessorFailed, match=f"job {failed} has failed"):
        world.submit(after_job_id=failed)
    [cancelled] = world.submit()
    world.cancel(cancelled)
    with pytest.raises(PredecessorFailed, match="been cancelled"):
        world.submit(after_job_id=cancelled)
    [of_grace] = world.submit("grace")
    with pytest.raises(NoSuchJob):
        world.submit("ada", after_job_id=of_grace)


def test_none_is_forgotten_that_is_submitted_while_its_job_ends(world: World) -> None:
    """Whichever of the two comes first, the follower ends up failed or refused."""
    for _ in range(10):
        [first] = world.submit()
        [claim] = world.claim()
        with ThreadPoolExecutor(2) as pool:
            end = pool.submit(world.queue.fail, claim, ERROR)
            follow = pool.submit(world.submit, "ada", after_job_id=first)
            end.result()
            try:
                [second] = follow.result()
            except PredecessorFailed:
                continue
        assert world.job(second).status == "failed"


def test_one_that_could_not_start_in_time_fails(world: World) -> None:
    soon = world.clock.now + timedelta(seconds=60)
    [late] = world.submit(start_before=soon)
    [waits] = world.submit(after_job_id=late)
    [paused] = world.submit("grace", start_before=soon)
    world.pause(paused)
    [text] = world.submit(kind="generate", start_before=soon)
    world.clock.move(61)
    assert world.claim() == []
    for job_id in (late, paused, text):
        job = world.job(job_id)
        assert job.status == "failed"
        assert job.error is not None
        assert job.error["type"] == "/problems/not-started-in-time"
        assert "2026-01-01 00:01:00 UTC" in job.error["detail"]
    assert world.job(waits).status == "failed"


def test_a_sweep_sees_it_where_no_worker_does(world: World) -> None:
    [late] = world.submit(start_before=world.clock.now + timedelta(seconds=60))
    world.queue.rescue()
    assert world.job(late).status == "queued"
    world.clock.move(61)
    world.queue.rescue()
    assert world.job(late).status == "failed"


def test_one_that_has_started_in_time_may_yield_and_go_on(world: World) -> None:
    world.submit(start_before=world.clock.now + timedelta(seconds=60))
    [claim] = world.claim()
    world.clock.move(100)
    world.queue.heartbeat(claim)
    world.queue.release(claim, "yielded")
    [again] = world.claim()
    assert again.job_id == claim.job_id


def test_a_deadline_counts_all_the_time_that_it_ran(world: World) -> None:
    world.submit(deadline_seconds=100)
    [claim] = world.claim()
    world.clock.move(50)
    assert world.queue.heartbeat(claim) == LeaseDirectives()
    world.queue.release(claim, "drained")
    world.clock.move(1000)  # waiting is not running
    [claim] = world.claim()
    world.clock.move(49)
    assert world.queue.heartbeat(claim) == LeaseDirectives()
    world.clock.move(2)
    assert world.queue.heartbeat(claim) == LeaseDirectives(overdue=True)
