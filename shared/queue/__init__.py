"""A job's life. This package is the only writer of `jobs.status`.

    queued ──claim──▶ running ──succeed──▶ succeeded
     ▲ ▲ │             │ │ ├────fail─────▶ failed     (also while it waits: what it comes
     │ │ └──pause──▶ paused │                           after failed, or its time is over)
     │ └────resume─────┘ │  └──cancelled──▶ cancelled  (from queued and paused: at once)
     └─release, rescue───┘

Rows are facts, messages are hints: whoever is woken claims what fairness picks.
Every write after a claim filters on id, attempt and ``status = 'running'``, in the
transaction of what it writes, so that a worker whose lease was taken changes nothing.
"""

from shared.queue.base import CLAIM_LOCKS
from shared.queue.claim import Claiming
from shared.queue.completion import Closing, Outcome
from shared.queue.lease import Holding
from shared.queue.submission import Asking

__all__ = ["CLAIM_LOCKS", "Outcome", "Queue"]


class Queue(Asking, Claiming, Holding, Closing):
    """The queue on one database: what people ask for, and what workers make of it."""
