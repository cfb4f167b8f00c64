"""Periodic maintenance of the tables: what each service deletes, and whom a lost wake wakes."""

from shared import worker_registry
from shared.worker_registry import WorkerInfo
from tests.queue.conftest import QueueHarness


def test_only_workers_that_take_jobs_count_as_idle(harness: QueueHarness) -> None:
    for host in ("idle", "draining", "starting"):
        worker = WorkerInfo(host, "cpu", "train", 1, {})
        worker_registry.register(
            harness.engine, worker, ready=host != "starting", clock=harness.clock
        )
    worker_registry.request_drain(harness.engine, "draining/cpu/train", harness.clock)
    harness.submit()
    harness.clock.move(5)
    [waiting] = harness.queue.waiting(3)
    assert waiting.idle_workers == 1, "a worker that drains or starts takes no job"
