"""Slices: who has had a quantum gives way to who was served less, and to nobody else."""

import pytest

from shared import blobs, worker_registry
from shared.queue.errors import AlreadyEnded, NoSuchJob
from shared.queue.types import CheckpointRecord, Claim, Orders
from shared.worker_registry import WorkerInfo, register
from tests.queue.conftest import World

OTHER = WorkerInfo("host", "cpu:1", "train", 1, {})
NOBODY = "01890a5d-ac96-774b-bcce-b302099a8057"


def running(world: World, user: str = "ada", seconds: float = 0.0) -> Claim:
    """A training of a user that has held its device for a while."""
    world.submit(user)
    [claim] = world.claim()
    world.clock.move(seconds)
    return claim


def quantum(world: World) -> float:
    return world.settings.quantum_seconds


def test_it_yields_after_its_quantum_to_who_was_served_less(world: World) -> None:
    mine = running(world)
    [waits] = world.submit("grace")
    world.clock.move(quantum(world) - 1)
    assert world.queue.heartbeat(mine) == Orders()
    world.clock.move(1)
    assert world.queue.heartbeat(mine) == Orders(yield_=True)
    assert world.queue.heartbeat(mine) == Orders(yield_=True), "what was asked stays asked"
    world.queue.release(mine, "yielded")
    job = world.job(mine.job_id)
    assert (job.status, job.fruitless_attempts, job.yield_requested_at) == ("queued", 0, None)
    assert world.events(mine.job_id)[-2:] == ["yield_requested", "queued"]
    assert [claim.job_id for claim in world.claim()] == [waits]
    assert [claim.job_id for claim in world.claim()] == [mine.job_id]


def test_it_goes_on_where_nobody_has_a_better_claim(world: World) -> None:
    mine = running(world, seconds=2 * quantum(world))
    assert world.queue.heartbeat(mine) == Orders(), "nobody waits"
    world.submit("ada")
    assert world.queue.heartbeat(mine) == Orders(), "its owner waits, for themselves"
    world.change("grace", served_seconds=3 * quantum(world), served_at=world.clock.now)
    world.submit("grace")
    assert world.queue.heartbeat(mine) == Orders(), "who waits was served more"
    world.submit("hedy", "generate")
    assert world.queue.heartbeat(mine) == Orders(), "a text needs no place of a training"
    world.clock.move(2 * quantum(world))
    assert world.queue.heartbeat(mine) == Orders(yield_=True), "now it has had more"


def test_a_share_weighs_what_was_served(world: World) -> None:
    world.change("ada", share=4.0)
    mine = running(world, seconds=2 * quantum(world))
    world.change("grace", served_seconds=quantum(world), served_at=world.clock.now)
    world.submit("grace")
    assert world.queue.heartbeat(mine) == Orders()


def test_no_more_yield_than_are_waited_for_and_the_most_served_first(world: World) -> None:
    claims = {name: running(world, name) for name in ("ada", "grace", "hedy", "joan")}
    world.change("hedy", served_seconds=9 * quantum(world), served_at=world.clock.now)
    world.clock.move(quantum(world))
    world.submit("mary")

    def asked() -> list[str]:
        return [name for name, claim in claims.items() if world.queue.heartbeat(claim).yield_]

    assert asked() == ["hedy"]
    assert asked() == ["hedy"], "a place that is being given back counts"
    world.submit("rosa")
    assert len(asked()) == 2
    world.queue.release(claims.pop("hedy"), "yielded")
    assert [claim.user_id for claim in world.claim()] == [world.user("mary")]
    assert len(asked()) == 1


def test_it_goes_on_while_a_device_is_free_for_who_waits(world: World) -> None:
    mine = running(world, seconds=2 * quantum(world))
    register(world.engine, OTHER, ready=True, clock=world.clock)
    world.submit("grace")
    assert not world.queue.heartbeat(mine).yield_, "the other device takes it in a moment"
    world.submit("hedy")
    assert world.queue.heartbeat(mine).yield_, "two wait, and one is free"


@pytest.mark.parametrize("why_not", ["starts", "drains", "died", "is busy"])
def test_it_yields_where_the_other_device_takes_nothing(world: World, why_not: str) -> None:
    register(world.engine, OTHER, ready=why_not != "starts", clock=world.clock)
    mine = running(world, seconds=quantum(world))
    if why_not != "died":
        worker_registry.heartbeat(world.engine, OTHER.id, world.clock)
    if why_not == "drains":
        worker_registry.request_drain(world.engine, OTHER.id, world.clock)
    if why_not == "is busy":
        world.submit("joan")
        assert world.queue.claim("train", OTHER.id)
    world.submit("grace")
    assert world.queue.heartbeat(mine).yield_


def test_a_capped_user_s_jobs_are_not_waited_for(world: World) -> None:
    world.change("grace", max_running=0)
    mine = running(world, seconds=2 * quantum(world))
    world.submit("grace")
    assert world.queue.heartbeat(mine) == Orders()


def test_a_lifted_job_takes_the_place_of_one_and_keeps_its_own(world: World) -> None:
    mine = running(world, seconds=quantum(world))
    world.change("grace", served_seconds=9 * quantum(world), served_at=world.clock.now)
    [urgent] = world.submit("grace")
    assert not world.queue.heartbeat(mine).yield_
    world.lift(urgent)
    assert world.queue.heartbeat(mine).yield_
    world.queue.release(mine, "yielded")
    [claim] = world.claim()
    assert claim.job_id == urgent
    world.clock.move(5 * quantum(world))
    assert not world.queue.heartbeat(claim).yield_


def test_whose_day_is_over_yields_though_nobody_waits(world: World) -> None:
    world.change("ada", max_device_seconds_per_day=1.5 * quantum(world))
    mine = running(world, seconds=quantum(world))
    assert not world.queue.heartbeat(mine).yield_
    world.clock.move(quantum(world))
    assert world.queue.heartbeat(mine).yield_
    world.queue.release(mine, "yielded")
    assert world.claim() == []
    world.clock.move(24 * 3600)
    assert [claim.job_id for claim in world.claim()] == [mine.job_id]


def test_a_queued_job_is_paused_at_once_and_resumed(world: World) -> None:
    [job_id] = world.submit()
    assert world.pause(job_id) == "paused"
    assert world.pause(job_id) == "paused"
    assert world.claim() == []
    assert world.queue.waiting(0) == []
    assert world.resume(job_id) == "queued"
    assert world.resume(job_id) == "queued"
    assert [claim.job_id for claim in world.claim()] == [job_id]
    events = ["submitted", "paused", "resume_requested", "claimed"]
    assert world.events(job_id) == events


def test_a_running_job_is_put_down_and_taken_up(world: World) -> None:
    mine = running(world)
    assert world.pause(mine.job_id) == "running"
    assert world.queue.heartbeat(mine) == Orders(pause=True)
    world.queue.release(mine, "paused")
    job = world.job(mine.job_id)
    assert (job.status, job.pause_requested_at, job.fruitless_attempts) == ("paused", None, 0)
    assert world.queue.rescue() == []
    assert world.resume(mine.job_id) == "queued"
    [again] = world.claim()
    assert again.attempt == 2


def test_a_pause_that_is_taken_back_in_time_is_none(world: World) -> None:
    mine = running(world)
    world.pause(mine.job_id)
    assert world.resume(mine.job_id) == "running"
    world.queue.release(mine, "paused")
    assert world.job(mine.job_id).status == "queued"


def test_a_paused_job_of_a_lost_worker_is_paused(world: World) -> None:
    mine = running(world)
    world.pause(mine.job_id)
    world.clock.move(world.settings.lease_seconds + 1)
    [rescue] = world.queue.rescue()
    assert (rescue.outcome, world.job(mine.job_id).status) == ("paused", "paused")


def test_a_cancel_wins_over_a_pause_and_a_yield(world: World) -> None:
    mine = running(world)
    world.pause(mine.job_id)
    world.cancel(mine.job_id)
    world.queue.release(mine, "yielded")
    assert world.job(mine.job_id).status == "cancelled"
    [job_id] = world.submit()
    world.pause(job_id)
    assert world.cancel(job_id) == "cancelled"


@pytest.mark.parametrize("ask", ["pause", "resume", "lift"])
def test_what_has_ended_or_never_was_is_refused(world: World, ask: str) -> None:
    [job_id] = world.submit()
    world.cancel(job_id)
    with pytest.raises(AlreadyEnded):
        getattr(world, ask)(job_id)
    with pytest.raises(NoSuchJob):
        getattr(world, ask)(NOBODY)


def test_a_slice_with_a_checkpoint_counts_neither_way(world: World) -> None:
    world.submit()
    for step in range(1, 2 * world.settings.max_attempts):
        [claim] = world.claim()
        sha256 = blobs.store(world.engine, b"weights %d" % step)
        record = CheckpointRecord(step, 0.1, 1.0, 1.0, "d" * 64, sha256, 9, {})
        world.queue.record_checkpoint(claim, record)
        world.queue.release(claim, "yielded")
        assert world.job(claim.job_id).fruitless_attempts == 0
