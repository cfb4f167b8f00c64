"""zombie, parent_dies, redeploy: two hosts, and one of them fails or is told to stop."""

import os
import signal
import time
from typing import Any

import pytest
from sqlalchemy import Table, select, text

from shared.database import IDLE_TIMEOUT_SECONDS
from shared.job_events import EventReader, sort_key
from shared.tables import Checkpoint, GeneratedText, Job, JobEvent, Metric
from tests.faults.conftest import Postmaster, SecondHost, Undisturbed
from tests.faults.parts import assert_consistent, digest, gone, parent, train
from tests.worker.harness import Worker, World, continue_process, stop_process, until

pytestmark = pytest.mark.slow

#: In which a training that is told to stop has written its checkpoint, and its worker has ended.
DRAIN_SECONDS = 30.0
#: A killed process is noticed at once, by the kernel.
END_SECONDS = 10.0
#: Shorter than a lease: whoever holds one may still write when the database is back.
AWAY_SECONDS = 1.0
#: As long as it takes that two trainings surely run side by side.
EPOCHS = 150


def test_zombie(
    deprived: World, deprived_worker: Worker, second_host: SecondHost, undisturbed: Undisturbed
) -> None:
    world, wanted = deprived, undisturbed(deprived, EPOCHS)
    workers = {"here": deprived_worker, SecondHost.name: second_host.up()}
    listener = EventReader(world.environment["REDIS_URL"], 2, 1.0)
    job_id = train(world, EPOCHS, sample={"length": 10, "temperatures": [0.5]})
    world.first_checkpoint(job_id)
    host = host_of(world, job_id)
    zombie = world.child("train", host=host)
    stop_process(zombie)
    try:
        # Frozen in a transaction it keeps the job's row until the database ends that.
        job = world.succeeded(job_id, seconds=IDLE_TIMEOUT_SECONDS + 60)
        before = rows(world, job_id)
        told = listener.read_all(job_id)
    finally:
        continue_process(zombie)
    assert (job.attempt, host_of(world, job_id)) == (2, *workers.keys() - {host})
    until(lambda: ended(workers[host], job_id), "the end of the zombie's run", 20)
    # It is none any more: both hosts run what comes next.
    for pair in pair_of_trainings(world).values():
        world.succeeded(pair)
    assert world.child("train", host=host) == zombie
    assert rows(world, job_id) == before
    # Nobody who follows the job hears of it either.
    assert [entry for entry in told if sort_key(entry.id)[0] == 2]
    assert listener.read_all(job_id) == told
    assert digest(world, job_id) == wanted


def test_who_is_frozen_in_a_transaction_does_not_keep_its_locks(deprived: World) -> None:
    with deprived.engine.connect() as connection:
        allowed = connection.scalar(text("SHOW idle_in_transaction_session_timeout"))
    assert allowed == f"{IDLE_TIMEOUT_SECONDS}s"


def test_parent_dies(
    deprived: World, deprived_worker: Worker, second_host: SecondHost, undisturbed: Undisturbed
) -> None:
    world, wanted = deprived, undisturbed(deprived, EPOCHS)
    # The main process of a lane: the supervisor starts another.
    worker = second_host.up()
    jobs = pair_of_trainings(world)
    child = world.child("train", host=SecondHost.name)
    os.kill(parent(child), signal.SIGKILL)
    until(lambda: gone(child), "the end of the child", END_SECONDS)
    assert_recovered(world, jobs, wanted)
    until(lambda: world.child("train", host=SecondHost.name) != child, "another child")
    # The supervisor: its lanes give back what they run, and end.
    second_host.up()
    jobs = pair_of_trainings(world)
    children = children_of(world)
    everybody = [*children, *map(parent, children)]
    worker.process.kill()
    worker.process.wait()
    until(lambda: all(map(gone, everybody)), "the end of the lanes", DRAIN_SECONDS)
    assert world.events(jobs[SecondHost.name]).count("queued") == 1
    assert_recovered(world, jobs, wanted)
    # All but the children at one blow: nobody is left to end them.
    worker = second_host.up()
    jobs = pair_of_trainings(world)
    children = children_of(world)
    for pid in (worker.process.pid, *map(parent, children)):
        os.kill(pid, signal.SIGKILL)
    worker.process.wait()
    until(lambda: all(map(gone, children)), "the end of the children", END_SECONDS)
    assert_recovered(world, jobs, wanted)
    assert_consistent(world)


def test_redeploy(
    deprived: World, deprived_worker: Worker, second_host: SecondHost, undisturbed: Undisturbed
) -> None:
    world, wanted = deprived, undisturbed(deprived, EPOCHS)
    worker = second_host.up()
    jobs = pair_of_trainings(world)
    drained = jobs[SecondHost.name]
    assert worker.stop() < DRAIN_SECONDS
    assert worker.process.returncode == 0
    assert not any(row.current_job_id for row in world.devices(SecondHost.name))
    assert_recovered(world, jobs, wanted)
    # From the step that it had reached, not from the end of the last epoch before it.
    steps = [data["step"] for data in world.told(drained, "checkpoint", attempt=1)]
    assert world.event(drained, "resumed")["step"] == steps[-1]
    # One lane alone: the supervisor starts it again.
    job_id = train(world, EPOCHS)
    world.first_checkpoint(job_id)
    main = parent(world.child("train"))
    os.kill(main, signal.SIGTERM)
    until(lambda: gone(main), "the end of the lane", DRAIN_SECONDS)
    assert world.succeeded(job_id, seconds=90).attempt == 2
    assert digest(world, job_id) == wanted
    # The child alone, as who stops a whole process group does: it gives back what it runs, too,
    # and its lease need not run out first.
    job_id = train(world, EPOCHS)
    world.first_checkpoint(job_id)
    child = world.child("train")
    os.kill(child, signal.SIGTERM)
    until(lambda: gone(child), "the end of the child", DRAIN_SECONDS)
    assert world.told(job_id, "queued", attempt=1)[-1]["reason"] == "drained"
    assert world.succeeded(job_id, seconds=90).attempt == 2
    assert digest(world, job_id) == wanted
    # Nothing runs: it ends at once, and another one takes what comes next.
    until(lambda: world.child("train") != child, "another child")
    idle = world.child("train")
    os.kill(idle, signal.SIGTERM)
    until(lambda: gone(idle), "the end of an idle child", END_SECONDS)
    world.succeeded(train(world, 1), seconds=90)


def test_a_worker_is_told_to_stop_while_the_database_is_away(
    deprived: World,
    deprived_worker: Worker,
    second_host: SecondHost,
    postmaster: Postmaster,
    undisturbed: Undisturbed,
) -> None:
    world, wanted = deprived, undisturbed(deprived, EPOCHS)
    second_host.up()
    jobs = pair_of_trainings(world)
    main = parent(world.child("train", host=SecondHost.name))
    postmaster.process.send_signal(signal.SIGQUIT)
    postmaster.process.wait(END_SECONDS)
    os.kill(main, signal.SIGTERM)
    time.sleep(AWAY_SECONDS)
    postmaster.stop()
    postmaster.start()
    until(lambda: gone(main), "the end of the lane", DRAIN_SECONDS)
    # It heard of it all the same, and gave back what it ran as soon as it could.
    assert world.told(jobs[SecondHost.name], "queued", attempt=1)[-1]["reason"] == "drained"
    assert_recovered(world, jobs, wanted)


def pair_of_trainings(world: World) -> dict[str, str]:
    """Two equal trainings, by the host that runs each; both have a checkpoint."""
    jobs = [train(world, EPOCHS), train(world, EPOCHS)]
    for job_id in jobs:
        world.first_checkpoint(job_id)
    found = {host_of(world, job_id): job_id for job_id in jobs}
    assert set(found) == {"here", SecondHost.name}
    return found


def assert_recovered(world: World, jobs: dict[str, str], wanted: str) -> None:
    """Both trainings end as if nothing had been, and one of them was taken up again."""
    for job_id in jobs.values():
        world.succeeded(job_id, seconds=90)
        assert digest(world, job_id) == wanted
        assert "inexact" not in world.events(job_id)
    assert world.job(jobs["here"]).attempt == 1
    assert world.job(jobs[SecondHost.name]).attempt == 2
    assert "resumed" in world.events(jobs[SecondHost.name])


def host_of(world: World, job_id: str) -> str:
    """The host that last claimed a job."""
    return str(world.job(job_id).worker_id).partition("/")[0]


def children_of(world: World) -> list[int]:
    """The processes of the second host in which jobs run."""
    return [world.child(lane, host=SecondHost.name) for lane in ("train", "generate")]


def ended(worker: Worker, job_id: str) -> bool:
    """Whether a worker's log has the end of its run of a job."""
    return any(job_id in line and '"run_ended"' in line for line in worker.log.splitlines())


def rows(world: World, job_id: str) -> list[Any]:
    """All that the database knows of a job."""
    found: list[Any] = []
    with world.engine.connect() as connection:
        for kept in (Job, Checkpoint, GeneratedText, JobEvent, Metric):
            table = kept.__table__
            assert isinstance(table, Table)
            of_job = table.c.id if kept is Job else table.c.job_id
            found += connection.execute(
                select(table).where(of_job == job_id).order_by(*table.primary_key)
            ).all()
    return found
