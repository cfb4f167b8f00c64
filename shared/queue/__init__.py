"""A job's life. Only this package writes `jobs.status`.

    queued ──claim──▶ running ──succeed────────▶ succeeded
     ▲ ▲ │             │ │ ├────fail───────────▶ failed
     │ │ └──pause──▶ paused │
     │ └────resume─────┘ │  └──cancel_claimed──▶ cancelled
     └─release, rescue───┘

Cancelling a queued or paused job ends it at once. A queued or paused job fails if the job it
depends on does not succeed, or if it has not started by `start_before`.

Rows are facts, messages are hints: a worker that is woken claims whatever the scheduling policy
picks. Every write after a claim filters on id, attempt and ``status = 'running'``, in the
transaction of what it writes, so that a worker that has lost its lease changes nothing.
"""

from shared.queue.claim import JobClaims
from shared.queue.completion import Completion, FinishedJob
from shared.queue.control import JobControl
from shared.queue.device_faults import DeviceFaults
from shared.queue.lease import JobLeases
from shared.queue.locks import CLAIM_LOCKS
from shared.queue.maintenance.rescue import LeaseRescue
from shared.queue.maintenance.retention import CheckpointRetention
from shared.queue.maintenance.wakes import LostWakes
from shared.queue.submission import JobSubmission

__all__ = ["CLAIM_LOCKS", "Completion", "FinishedJob", "Queue"]


class Queue(
    JobSubmission,
    JobControl,
    JobClaims,
    JobLeases,
    DeviceFaults,
    LeaseRescue,
    LostWakes,
    CheckpointRetention,
):
    """The job queue on one database: for the API, for workers, and for periodic maintenance."""
