"""Slices: a training that has had its quantum yields to a less served user, and to nobody else."""

import pytest

from shared import blobs, worker_registry
from shared.queue.errors import AlreadyEnded, NoSuchJob
from shared.queue.types import CheckpointRecord, Claim, LeaseDirectives
from shared.worker_registry import WorkerInfo, register
from tests.queue.conftest import QueueHarness

OTHER = WorkerInfo("host", "cpu:1", "train", 1, {})
NOBODY = "01890a5d-ac96-774b-bcce-b302099a8057"


def running(harness: QueueHarness, user: str = "ada", seconds: float = 0.0) -> Claim:
    """Submit and claim a training, which then holds its device for so many seconds."""
    harness.submit(user)
    [claim] = harness.claim()
    harness.clock.move(seconds)
    return claim


def quantum(harness: QueueHarness) -> float:
    return harness.settings.quantum_seconds


def test_a_training_yields_after_its_quantum_to_a_less_served_user(harness: QueueHarness) -> None:
    mine = running(harness)
    [waits] = harness.submit("grace")
    harness.clock.move(quantum(harness) - 1)
    assert harness.queue.heartbeat(mine) == LeaseDirectives()
    harness.clock.move(1)
    assert harness.queue.heartbeat(mine) == LeaseDirectives(yield_=True)
    assert harness.queue.heartbeat(mine) == LeaseDirectives(yield_=True), "the request stays"
    harness.queue.release(mine, "yielded")
    job = harness.job(mine.job_id)
    assert (job.status, job.fruitless_attempts, job.yield_requested_at) == ("queued", 0, None)
    assert harness.events(mine.job_id)[-2:] == ["yield_requested", "queued"]
    assert [claim.job_id for claim in harness.claim()] == [waits]
    assert [claim.job_id for claim in harness.claim()] == [mine.job_id]


def test_a_training_continues_while_nobody_less_served_waits(harness: QueueHarness) -> None:
    mine = running(harness, seconds=2 * quantum(harness))
    assert harness.queue.heartbeat(mine) == LeaseDirectives(), "nobody waits"
    harness.submit("ada")
    assert harness.queue.heartbeat(mine) == LeaseDirectives(), "only its owner waits"
    harness.change("grace", served_seconds=3 * quantum(harness), served_at=harness.clock.now)
    harness.submit("grace")
    assert harness.queue.heartbeat(mine) == LeaseDirectives(), "the waiting user was served more"
    harness.submit("hedy", "generate")
    assert harness.queue.heartbeat(mine) == LeaseDirectives(), "a generation needs no such device"
    harness.clock.move(2 * quantum(harness))
    assert harness.queue.heartbeat(mine) == LeaseDirectives(yield_=True), "now its owner had more"


def test_service_is_divided_by_the_share(harness: QueueHarness) -> None:
    harness.change("ada", share=4.0)
    mine = running(harness, seconds=2 * quantum(harness))
    harness.change("grace", served_seconds=quantum(harness), served_at=harness.clock.now)
    harness.submit("grace")
    assert harness.queue.heartbeat(mine) == LeaseDirectives()


def test_no_more_yield_than_jobs_wait_and_the_most_served_yield_first(
    harness: QueueHarness,
) -> None:
    claims = {name: running(harness, name) for name in ("ada", "grace", "hedy", "joan")}
    harness.change("hedy", served_seconds=9 * quantum(harness), served_at=harness.clock.now)
    harness.clock.move(quantum(harness))
    harness.submit("mary")

    def asked() -> list[str]:
        return [name for name, claim in claims.items() if harness.queue.heartbeat(claim).yield_]

    assert asked() == ["hedy"]
    assert asked() == ["hedy"], "a device that is about to be free counts"
    harness.submit("rosa")
    assert len(asked()) == 2
    harness.queue.release(claims.pop("hedy"), "yielded")
    assert [claim.user_id for claim in harness.claim()] == [harness.user("mary")]
    assert len(asked()) == 1


def test_a_training_continues_while_a_device_is_free_for_the_waiting_job(
    harness: QueueHarness,
) -> None:
    mine = running(harness, seconds=2 * quantum(harness))
    register(harness.engine, OTHER, ready=True, clock=harness.clock)
    harness.submit("grace")
    assert not harness.queue.heartbeat(mine).yield_, "the other device will claim the job"
    harness.submit("hedy")
    assert harness.queue.heartbeat(mine).yield_, "two jobs wait, and one device is free"


@pytest.mark.parametrize("why_not", ["starts", "drains", "died", "is busy"])
def test_a_training_yields_if_the_other_device_takes_no_job(
    harness: QueueHarness, why_not: str
) -> None:
    register(harness.engine, OTHER, ready=why_not != "starts", clock=harness.clock)
    mine = running(harness, seconds=quantum(harness))
    if why_not != "died":
        worker_registry.heartbeat(harness.engine, OTHER.id, harness.clock)
    if why_not == "drains":
        worker_registry.request_drain(harness.engine, OTHER.id, harness.clock)
    if why_not == "is busy":
        harness.submit("joan")
        assert harness.queue.claim("train", OTHER.id)
    harness.submit("grace")
    assert harness.queue.heartbeat(mine).yield_


def test_a_training_does_not_yield_to_a_user_whom_a_cap_stops(harness: QueueHarness) -> None:
    harness.change("grace", max_running=0)
    mine = running(harness, seconds=2 * quantum(harness))
    harness.submit("grace")
    assert harness.queue.heartbeat(mine) == LeaseDirectives()


def test_a_training_yields_to_a_promoted_job_which_yields_to_nobody(harness: QueueHarness) -> None:
    mine = running(harness, seconds=quantum(harness))
    harness.change("grace", served_seconds=9 * quantum(harness), served_at=harness.clock.now)
    [urgent] = harness.submit("grace")
    assert not harness.queue.heartbeat(mine).yield_
    harness.promote(urgent)
    assert harness.queue.heartbeat(mine).yield_
    harness.queue.release(mine, "yielded")
    [claim] = harness.claim()
    assert claim.job_id == urgent
    harness.clock.move(5 * quantum(harness))
    assert not harness.queue.heartbeat(claim).yield_


def test_a_training_yields_when_the_owner_s_day_is_used_up(harness: QueueHarness) -> None:
    harness.change("ada", max_device_seconds_per_day=1.5 * quantum(harness))
    mine = running(harness, seconds=quantum(harness))
    assert not harness.queue.heartbeat(mine).yield_
    harness.clock.move(quantum(harness))
    assert harness.queue.heartbeat(mine).yield_
    harness.queue.release(mine, "yielded")
    assert harness.claim() == []
    harness.clock.move(24 * 3600)
    assert [claim.job_id for claim in harness.claim()] == [mine.job_id]


def test_a_queued_job_is_paused_at_once_and_resumed(harness: QueueHarness) -> None:
    [job_id] = harness.submit()
    assert harness.pause(job_id) == "paused"
    assert harness.pause(job_id) == "paused"
    assert harness.claim() == []
    assert harness.queue.waiting(0) == []
    assert harness.resume(job_id) == "queued"
    assert harness.resume(job_id) == "queued"
    assert [claim.job_id for claim in harness.claim()] == [job_id]
    events = ["submitted", "paused", "resume_requested", "claimed"]
    assert harness.events(job_id) == events


def test_a_running_job_is_paused_and_resumed(harness: QueueHarness) -> None:
    mine = running(harness)
    assert harness.pause(mine.job_id) == "running"
    assert harness.queue.heartbeat(mine) == LeaseDirectives(pause=True)
    harness.queue.release(mine, "paused")
    job = harness.job(mine.job_id)
    assert (job.status, job.pause_requested_at, job.fruitless_attempts) == ("paused", None, 0)
    assert harness.queue.rescue() == []
    assert harness.resume(mine.job_id) == "queued"
    [again] = harness.claim()
    assert again.attempt == 2


def test_a_pause_withdrawn_in_time_has_no_effect(harness: QueueHarness) -> None:
    mine = running(harness)
    harness.pause(mine.job_id)
    assert harness.resume(mine.job_id) == "running"
    harness.queue.release(mine, "paused")
    assert harness.job(mine.job_id).status == "queued"


def test_a_paused_job_of_a_lost_worker_is_paused(harness: QueueHarness) -> None:
    mine = running(harness)
    harness.pause(mine.job_id)
    harness.clock.move(harness.settings.lease_seconds + 1)
    [rescue] = harness.queue.rescue()
    assert (rescue.outcome, harness.job(mine.job_id).status) == ("paused", "paused")


def test_a_cancel_wins_over_a_pause_and_a_yield(harness: QueueHarness) -> None:
    mine = running(harness)
    harness.pause(mine.job_id)
    harness.cancel(mine.job_id)
    harness.queue.release(mine, "yielded")
    assert harness.job(mine.job_id).status == "cancelled"
    [job_id] = harness.submit()
    harness.pause(job_id)
    assert harness.cancel(job_id) == "cancelled"


@pytest.mark.parametrize("ask", ["pause", "resume", "promote"])
def test_ended_and_unknown_jobs_are_refused(harness: QueueHarness, ask: str) -> None:
    [job_id] = harness.submit()
    harness.cancel(job_id)
    with pytest.raises(AlreadyEnded):
        getattr(harness, ask)(job_id)
    with pytest.raises(NoSuchJob):
        getattr(harness, ask)(NOBODY)


def test_a_slice_with_a_checkpoint_is_no_fruitless_attempt(harness: QueueHarness) -> None:
    harness.submit()
    for step in range(1, 2 * harness.settings.max_attempts):
        [claim] = harness.claim()
        sha256 = blobs.store(harness.engine, b"weights %d" % step)
        record = CheckpointRecord(step, 0.1, 1.0, 1.0, "d" * 64, sha256, 9, {})
        harness.queue.record_checkpoint(claim, record)
        harness.queue.release(claim, "yielded")
        assert harness.job(claim.job_id).fruitless_attempts == 0
