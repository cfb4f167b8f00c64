"""Adds events to a job's history while it runs."""

from shared.queue import Queue
from worker.execution.lease import Lease


def record_event(queue: Queue, lease: Lease, kind: str, **data: object) -> None:
    """Add an event to the job's history, retrying while the database is away.

    Raises:
        LeaseLost: Nothing was recorded.
    """
    lease.persist(lambda: queue.record_event(lease.claim, kind, **data))
