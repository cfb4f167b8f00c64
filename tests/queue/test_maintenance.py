"""Periodic maintenance of the tables: what each service deletes, and whom a lost wake wakes."""

from shared import worker_registry
from shared.worker_registry import WorkerSelf
from tests.queue.conftest import World


def test_only_workers_that_take_jobs_count_as_idle(world: World) -> None:
    for host in ("idle", "draining", "starting"):
        worker = WorkerSelf(host, "cpu", "train", 1, {})
        worker_registry.show(world.engine, worker, ready=host != "starting", clock=world.clock)
    worker_registry.request_drain(world.engine, "draining/cpu/train", world.clock)
    world.submit()
    world.clock.move(5)
    [waiting] = world.queue.waiting(3)
    assert waiting.idle_workers == 1, "a worker that drains or starts takes no job"
