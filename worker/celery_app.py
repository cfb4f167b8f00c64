"""The Celery application: what a child does when it starts, and when it is woken."""

import logging
import os
import signal
import threading
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog
from celery import shared_task
from celery.signals import setup_logging, worker_process_init

from shared.broker import WAKE_TASK
from shared.logs import configure_logging
from shared.process.gc_freeze import gc_frozen_after_load
from shared.process.pdeathsig import die_with_parent
from shared.process.title import set_title
from shared.settings import load_settings
from worker.lane import Lane

if TYPE_CHECKING:
    from worker.execution.batching.batch_runner import BatchRunner
    from worker.execution.heartbeat import Heartbeat
    from worker.execution.runner import Runner
    from worker.execution.wakes.linger import Linger

#: The key of the lane in Celery's configuration, which reaches the child.
LANE_KEY = "quire_lane"
#: The key of the id of the process that starts the child.
PARENT_KEY = "quire_parent"
EXIT_CANNOT_START = 70
#: Tells the parent to end, because the device has failed. Celery uses no real-time signal.
LEAVE_DEVICE = signal.SIGRTMIN
LEAVE_SECONDS = 10.0
#: The pause between the end of the last run and the end of a draining child.
EXIT_DELAY_SECONDS = 0.5

log = structlog.get_logger(__name__)


@dataclass
class _Child:
    """This process: runs jobs when woken, and returns them to the queue on TERM.

    Attributes:
        linger: Waits for further wakes before the child returns to its parent; None returns it
            at once.
        draining: Whether TERM arrived during a run.
    """

    runner: "Runner | BatchRunner"
    heartbeat: "Heartbeat"
    linger: "Linger | None"
    draining: bool = False

    def run(self, wake: str) -> int:
        """Run jobs until none is left. Returns how many were run."""
        # While nothing runs, the pool's handler is right: it ends the process at once. During a
        # run this one is needed, because TERM may come to the whole process group.
        before = signal.signal(signal.SIGTERM, self._on_term)
        try:
            count = self.runner.run_all(wake)
            if count and self.linger is not None:
                count += self.linger.run(self.runner.run_all)
            return count
        finally:
            signal.signal(signal.SIGTERM, before)
            if self.draining:
                # Once the pool knows that the task is done, TERM ends the process.
                again = threading.Timer(EXIT_DELAY_SECONDS, os.kill, (os.getpid(), signal.SIGTERM))
                again.daemon = True
                again.start()

    def _on_term(self, *_: object) -> None:
        self.draining = True
        self.heartbeat.drain()


#: Global, because Celery keeps no state for a task between two calls.
_children: list[_Child] = []


@setup_logging.connect  # type: ignore[untyped-decorator]  # Celery has no types
def _configure_logging(**_: object) -> None:
    configure_logging(load_settings())
    # Celery logs two lines per wake, which say less than the runner's.
    for name in ("celery.worker.strategy", "celery.app.trace"):
        logging.getLogger(name).setLevel(logging.WARNING)


@worker_process_init.connect  # type: ignore[untyped-decorator]
def _start(**_: object) -> None:
    """Prepare the child before it takes its first wake."""
    from celery import current_app

    lane = Lane.from_dict(current_app.conf[LANE_KEY])
    set_title(f"{lane.title} (child)")
    # Without its parent, a child would train on and renew its lease for nothing.
    if not die_with_parent(current_app.conf[PARENT_KEY], signal.SIGKILL):
        os._exit(EXIT_CANNOT_START)
    parent = current_app.conf[PARENT_KEY]
    settings = load_settings()
    try:
        with gc_frozen_after_load():
            from worker.bootstrap import start

            _children.append(_Child(*start(lane, settings, partial(_leave_device, parent))))
    except BaseException as error:
        from worker.broken_device import record_if_broken

        if record_if_broken(error, lane, settings):
            _leave_device(parent)
        # Celery would swallow the error and send wakes to a child that cannot run jobs.
        log.exception("worker_cannot_start", worker=lane.worker_id)
        os._exit(EXIT_CANNOT_START)


def _leave_device(parent: int) -> None:
    """End the lane: its parent starts again, and waits until the device may be used."""
    os.kill(parent, LEAVE_DEVICE)
    # The parent's end ends this process.
    time.sleep(LEAVE_SECONDS)
    os._exit(EXIT_CANNOT_START)


@shared_task(name=WAKE_TASK, bind=True)  # type: ignore[untyped-decorator]
def wake(self: Any, kind: str) -> int:
    """Run jobs until none is left. Returns how many were run."""
    return _children[0].run(wake=str(self.request.id))
