"""`after`, `start_before` and `deadline_seconds`: when a job may run, and for how long."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from shared.queue.errors import NoSuchJob, PredecessorFailed
from shared.queue.types import LeaseDirectives, problem
from tests.queue.conftest import QueueHarness

ERROR = problem("x", "X", "x")


def test_a_job_runs_once_its_predecessor_has_succeeded(harness: QueueHarness) -> None:
    [first] = harness.submit()
    [second] = harness.submit(after_job_id=first)
    [text] = harness.submit(kind="generate", after_job_id=first)
    [claim] = harness.claim(limit=5)
    assert harness.claim("generate") == []
    harness.clock.move(10)
    assert harness.queue.waiting(5) == [], "no worker is woken for a job that can't run"
    harness.queue.succeed(claim)
    assert [claim.job_id for claim in harness.claim(limit=5)] == [second]
    assert [claim.job_id for claim in harness.claim("generate", 5)] == [text]
    assert harness.events(second) == ["submitted", "unblocked", "claimed"]
    assert harness.job(second).after_job_id == first


def test_a_job_does_not_wait_for_a_predecessor_that_has_succeeded(harness: QueueHarness) -> None:
    [first] = harness.submit()
    harness.queue.succeed(*harness.claim())
    [second] = harness.submit(after_job_id=first)
    assert [claim.job_id for claim in harness.claim()] == [second]


@pytest.mark.parametrize("end", ["failed", "cancelled", "cancelled before", "lost"])
def test_a_chain_fails_with_its_first_job_and_says_why(harness: QueueHarness, end: str) -> None:
    [first] = harness.submit()
    [second] = harness.submit(after_job_id=first)
    [third] = harness.submit(after_job_id=second)
    [paused] = harness.submit(after_job_id=second)
    harness.pause(paused)
    if end == "cancelled before":
        harness.cancel(first)
    elif end == "lost":
        for _ in range(harness.settings.max_attempts):
            harness.claim()
            harness.clock.move(harness.settings.lease_seconds + 1)
            harness.queue.rescue()
    else:
        [claim] = harness.claim()
        harness.queue.fail(claim, ERROR) if end == "failed" else harness.queue.cancel_claimed(claim)
    for job_id, before in ((second, first), (third, second), (paused, second)):
        job = harness.job(job_id)
        assert (job.status, job.blocked_by) == ("failed", None)
        assert job.error is not None
        assert job.error["type"] == "/problems/after-failed"
        assert f"after job {before}, which" in job.error["detail"]
    assert harness.claim(limit=5) == []


def test_a_predecessor_that_failed_or_belongs_to_another_user_is_refused(
    harness: QueueHarness,
) -> None:
    [failed] = harness.submit()
    harness.queue.fail(harness.claim()[0], ERROR)
    with pytest.raises(PredecessorFailed, match=f"job {failed} has failed"):
        harness.submit(after_job_id=failed)
    [cancelled] = harness.submit()
    harness.cancel(cancelled)
    with pytest.raises(PredecessorFailed, match="been cancelled"):
        harness.submit(after_job_id=cancelled)
    [of_grace] = harness.submit("grace")
    with pytest.raises(NoSuchJob):
        harness.submit("ada", after_job_id=of_grace)


def test_a_job_submitted_while_its_predecessor_fails_is_not_forgotten(
    harness: QueueHarness,
) -> None:
    """Whichever comes first, the job ends up failed or refused."""
    for _ in range(10):
        [first] = harness.submit()
        [claim] = harness.claim()
        with ThreadPoolExecutor(2) as pool:
            end = pool.submit(harness.queue.fail, claim, ERROR)
            submitted = pool.submit(harness.submit, "ada", after_job_id=first)
            end.result()
            try:
                [second] = submitted.result()
            except PredecessorFailed:
                continue
        assert harness.job(second).status == "failed"


def test_a_job_that_could_not_start_in_time_fails(harness: QueueHarness) -> None:
    soon = harness.clock.now + timedelta(seconds=60)
    [late] = harness.submit(start_before=soon)
    [waits] = harness.submit(after_job_id=late)
    [paused] = harness.submit("grace", start_before=soon)
    harness.pause(paused)
    [text] = harness.submit(kind="generate", start_before=soon)
    harness.clock.move(61)
    assert harness.claim() == []
    for job_id in (late, paused, text):
        job = harness.job(job_id)
        assert job.status == "failed"
        assert job.error is not None
        assert job.error["type"] == "/problems/not-started-in-time"
        assert "2026-01-01 00:01:00 UTC" in job.error["detail"]
    assert harness.job(waits).status == "failed"


def test_a_rescue_fails_it_when_no_worker_claims(harness: QueueHarness) -> None:
    [late] = harness.submit(start_before=harness.clock.now + timedelta(seconds=60))
    harness.queue.rescue()
    assert harness.job(late).status == "queued"
    harness.clock.move(61)
    harness.queue.rescue()
    assert harness.job(late).status == "failed"


def test_a_job_that_started_in_time_may_yield_and_continue(harness: QueueHarness) -> None:
    harness.submit(start_before=harness.clock.now + timedelta(seconds=60))
    [claim] = harness.claim()
    harness.clock.move(100)
    harness.queue.heartbeat(claim)
    harness.queue.release(claim, "yielded")
    [again] = harness.claim()
    assert again.job_id == claim.job_id


def test_a_deadline_counts_all_running_time(harness: QueueHarness) -> None:
    harness.submit(deadline_seconds=100)
    [claim] = harness.claim()
    harness.clock.move(50)
    assert harness.queue.heartbeat(claim) == LeaseDirectives()
    harness.queue.release(claim, "drained")
    harness.clock.move(1000)  # time in the queue does not count
    [claim] = harness.claim()
    harness.clock.move(49)
    assert harness.queue.heartbeat(claim) == LeaseDirectives()
    harness.clock.move(2)
    assert harness.queue.heartbeat(claim) == LeaseDirectives(overdue=True)
