"""Poison in a batch: no job of a batch that killed its worker is blamed before it ran alone."""

import pytest

from shared.queue.maintenance import rescue
from tests.queue.conftest import WORKER, QueueHarness

BEAT_SECONDS = 9  # less than a heartbeat


def claim(harness: QueueHarness, busy: bool = True) -> str:
    """Submit one more generation and claim it."""
    [job_id] = harness.submit(kind="generate")
    assert [claim.job_id for claim in harness.queue.claim("generate", WORKER, busy=busy)] == [
        job_id
    ]
    return job_id


def job_states(harness: QueueHarness, *jobs: str) -> list[tuple[str, bool, int]]:
    """Read each job's status, whether it must run alone, and its fruitless attempts."""
    rows = [harness.job(job_id) for job_id in jobs]
    return [(row.status, row.alone, row.fruitless_attempts) for row in rows]


def test_jobs_of_a_lost_batch_run_alone_before_an_attempt_counts(
    harness: QueueHarness,
) -> None:
    # Ids of one millisecond are in no order.
    first, second, third = sorted(harness.submit(count=3, kind="generate"))
    assert len(harness.claim("generate", limit=9)) == 3
    harness.clock.move(harness.settings.lease_seconds + 1)
    assert {rescue.outcome for rescue in harness.queue.rescue()} == {"queued"}
    assert [harness.job(job_id).fruitless_attempts for job_id in (first, second, third)] == [
        0,
        0,
        0,
    ]
    # A busy worker waits until it runs nothing else; an idle one takes one of them alone.
    assert harness.queue.claim("generate", WORKER, 9, busy=True) == []
    [claim] = harness.claim("generate", limit=9)
    assert (claim.job_id, claim.alone) == (first, True)
    # From here on no other job can be to blame.
    for _ in range(harness.settings.max_attempts):
        harness.clock.move(harness.settings.lease_seconds + 1)
        [rescue] = harness.queue.rescue()
        if rescue.outcome == "queued":
            [claim] = harness.claim("generate", limit=9)
            assert claim.job_id == first
    assert harness.job(first).status == "failed"
    for job_id in (second, third):
        [claim] = harness.claim("generate", limit=9)
        assert claim.job_id == job_id
        harness.queue.succeed(claim)
    # Later jobs, which were in no lost batch, share a batch again.
    harness.submit(count=2, kind="generate")
    assert len(harness.claim("generate", limit=9)) == 2


def test_a_claim_takes_jobs_up_to_the_first_that_must_run_alone(harness: QueueHarness) -> None:
    harness.submit(count=2, kind="generate")
    assert len(harness.claim("generate", limit=9)) == 2
    harness.clock.move(harness.settings.lease_seconds + 1)
    harness.queue.rescue()
    [better] = harness.submit(kind="generate", priority=-1)
    [claim] = harness.claim("generate", limit=9)
    assert (claim.job_id, claim.alone) == (better, False)


def test_a_job_that_ran_alone_is_blamed_for_its_worker_s_death(harness: QueueHarness) -> None:
    [job_id] = harness.submit(kind="generate")
    harness.claim("generate")
    harness.clock.move(harness.settings.lease_seconds + 1)
    harness.queue.rescue()
    job = harness.job(job_id)
    assert (job.fruitless_attempts, job.alone) == (1, False)


def test_batch_mates_whose_leases_expire_later_are_not_blamed(
    harness: QueueHarness,
) -> None:
    """The lease of a job claimed after the last heartbeat expires later than the renewed ones."""
    early = claim(harness, busy=False)
    harness.clock.move(BEAT_SECONDS)
    late = claim(harness)
    harness.clock.move(harness.settings.lease_seconds - BEAT_SECONDS + 1)
    assert [rescue.job_id for rescue in harness.queue.rescue()] == [early]
    assert harness.job(late).status == "running", "its lease lasts for some more seconds"
    harness.clock.move(BEAT_SECONDS)
    assert [rescue.job_id for rescue in harness.queue.rescue()] == [late]
    assert job_states(harness, early, late) == [("queued", True, 0)] * 2
    # From here on each runs alone, and its own attempts count.
    [alone] = harness.claim("generate", limit=9)
    harness.clock.move(harness.settings.lease_seconds + 1)
    harness.queue.rescue()
    assert job_states(harness, alone.job_id) == [("queued", True, 1)]


def test_batch_mates_that_one_rescue_leaves_over_are_not_blamed(
    harness: QueueHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rescue, "RESCUED_AT_ONCE", 2)
    jobs = harness.submit(kind="generate", count=3)
    assert len(harness.claim("generate", limit=3)) == 3
    harness.clock.move(harness.settings.lease_seconds + 1)
    assert len(harness.queue.rescue()) == 2
    assert len(harness.queue.rescue()) == 1
    assert job_states(harness, *jobs) == [("queued", True, 0)] * 3


def test_jobs_of_the_next_worker_of_that_name_are_no_batch_mates(harness: QueueHarness) -> None:
    dead = claim(harness, busy=False)
    harness.clock.move(harness.settings.lease_seconds - 1)
    alive = claim(harness, busy=False)
    harness.clock.move(2)
    assert [rescue.job_id for rescue in harness.queue.rescue()] == [dead]
    assert job_states(harness, dead, alive) == [("queued", False, 1), ("running", False, 1)]
