"""Two workers under one name: which of them holds it, and that the other can't touch its row."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier

import pytest
from sqlalchemy import select, update

from shared import worker_registry
from shared.database import reading
from shared.queue.types import LeaseDirectives
from shared.tables import Device
from shared.worker_instances import NameHeld, hold_names, new_instance_id, take_names
from shared.worker_registry import WorkerInfo, WorkerReplaced
from tests.queue.conftest import WORKER, QueueHarness

LEASE_SECONDS = 60.0


def workers(instance_id: str | None = None) -> list[WorkerInfo]:
    """The lanes of one start of a supervisor."""
    instance_id = instance_id or new_instance_id()
    return [
        WorkerInfo("host", "cpu", lane, 1, {}, instance_id=instance_id)
        for lane in ("train", "generate")
    ]


def take(harness: QueueHarness, wanted: list[WorkerInfo]) -> None:
    take_names(harness.engine, wanted, LEASE_SECONDS, harness.clock)


def holders(harness: QueueHarness) -> set[str | None]:
    with reading(harness.engine) as connection:
        return set(connection.scalars(select(Device.instance_id)))


def row(harness: QueueHarness) -> Device:
    with reading(harness.engine) as connection:
        columns = Device.__table__.columns
        found = connection.execute(select(*columns).where(Device.id == WORKER)).one()
        return Device(**found._mapping)


def forget_process(harness: QueueHarness, process: str | None = "boot/pid:[1]/2/3") -> None:
    """Make the holder a process that can't be seen from here, as in another container."""
    with harness.engine.begin() as connection:
        connection.execute(update(Device).values(instance_process=process))


def test_the_second_of_a_name_is_refused_and_told_why(harness: QueueHarness) -> None:
    first, second = workers(), workers()
    take(harness, first)
    harness.clock.move(7)
    with pytest.raises(NameHeld) as caught:
        take(harness, second)
    reason = str(caught.value)
    assert "'host'" in reason
    assert "7 s ago" in reason
    assert "QUIRE_HOST_NAME or --host-name" in reason
    assert holders(harness) == {first[0].instance_id}


def test_a_refused_one_takes_none_of_its_names(harness: QueueHarness) -> None:
    take(harness, workers()[:1])
    second = workers()
    with pytest.raises(NameHeld):
        take(harness, second)
    assert second[0].instance_id not in holders(harness)


def test_of_two_that_start_at_once_one_gets_the_name(harness: QueueHarness) -> None:
    both, together = [workers(), workers()], Barrier(2)

    def start(wanted: list[WorkerInfo]) -> bool:
        together.wait(10)
        try:
            take(harness, wanted)
        except NameHeld:
            return False
        return True

    with ThreadPoolExecutor(2) as pool:
        taken = list(pool.map(start, both))
    assert sorted(taken) == [False, True]
    assert holders(harness) == {both[taken.index(True)][0].instance_id}


def test_a_name_is_free_once_its_holder_was_silent_for_a_lease(harness: QueueHarness) -> None:
    first, second = workers(), workers()
    take(harness, first)
    forget_process(harness)
    harness.clock.move(LEASE_SECONDS - 1)
    with pytest.raises(NameHeld):
        take(harness, second)
    # Its supervisor runs, even though its lanes say nothing.
    assert hold_names(harness.engine, first, harness.clock) == set()
    forget_process(harness)
    harness.clock.move(LEASE_SECONDS - 1)
    with pytest.raises(NameHeld):
        take(harness, second)
    harness.clock.move(1)
    take(harness, second)
    assert holders(harness) == {second[0].instance_id}
    assert hold_names(harness.engine, first, harness.clock) == {worker.id for worker in first}


def test_a_name_is_free_once_its_holder_has_stopped_in_order(harness: QueueHarness) -> None:
    first, second = workers(), workers()
    take(harness, first)
    for worker in first:
        worker_registry.unregister(harness.engine, worker.id, instance_id=worker.instance_id)
    take(harness, second)
    assert holders(harness) == {second[0].instance_id}


def test_the_holder_takes_its_own_names_again(harness: QueueHarness) -> None:
    mine = workers()
    take(harness, mine)
    take(harness, mine)
    assert holders(harness) == {mine[0].instance_id}


def test_a_worker_of_an_earlier_version_holds_its_name_for_a_lease(harness: QueueHarness) -> None:
    [old, _] = (replace(worker, instance_id=None) for worker in workers())
    worker_registry.register(harness.engine, old, ready=True, clock=harness.clock)
    with pytest.raises(NameHeld):
        take(harness, workers())
    harness.clock.move(LEASE_SECONDS)
    take(harness, workers())


def test_the_one_that_lost_its_name_changes_nothing_of_the_other(harness: QueueHarness) -> None:
    first, second = workers()[0], workers()[0]
    take(harness, [first])
    [job_id] = harness.submit()
    [claim] = harness.queue.claim("train", WORKER)
    forget_process(harness)
    harness.clock.move(LEASE_SECONDS)
    take(harness, [second])
    worker_registry.register(harness.engine, second, ready=True, clock=harness.clock)
    taken_at = harness.clock.now
    harness.clock.move(5)
    old = {"instance_id": first.instance_id}
    worker_registry.request_drain(harness.engine, WORKER, harness.clock, **old)
    worker_registry.unregister(harness.engine, WORKER, **old)
    assert not worker_registry.heartbeat(harness.engine, WORKER, harness.clock, **old)
    with pytest.raises(WorkerReplaced, match="QUIRE_HOST_NAME"):
        worker_registry.register(harness.engine, first, ready=True, clock=harness.clock)
    # Its lease is its own all the same: it may still return its job.
    directives = harness.queue.heartbeats([claim], first.instance_id)
    assert directives == {job_id: LeaseDirectives()}
    now = row(harness)
    assert (now.instance_id, now.heartbeat_at) == (second.instance_id, taken_at)
    assert now.drain_requested_at is None
    assert now.ready_at is not None
