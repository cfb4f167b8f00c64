"""The Celery side: what a child does as it starts, and what it does when it is woken."""

import logging
import os
import signal
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog
from celery import shared_task
from celery.signals import setup_logging, worker_process_init

from shared.broker import WAKE_TASK
from shared.logs import configure_logging
from shared.process.pdeathsig import die_with_parent
from shared.process.title import set_title
from shared.settings import load_settings
from worker.lane import Lane

if TYPE_CHECKING:
    from worker.execution.batch_runner import BatchRunner
    from worker.execution.heartbeat import Heartbeat
    from worker.execution.runner import Runner

#: Where Celery's configuration, which reaches the child, holds the lane.
LANE_KEY = "quire_lane"
#: And where the process id of whoever starts the child.
PARENT_KEY = "quire_parent"
EXIT_CANNOT_START = 70
#: Between the end of what ran and that of a child that was told to end.
LEAVE_SECONDS = 0.5

log = structlog.get_logger(__name__)


@dataclass
class _Child:
    """This process: runs what it is woken for, and gives it back when it is told to end.

    Attributes:
        leaving: Whether a TERM came while it ran something.
    """

    runner: "Runner | BatchRunner"
    heartbeat: "Heartbeat"
    leaving: bool = False

    def run(self, wake: str) -> int:
        """Run what there is to run; the number of jobs that were."""
        # The pool's own handler, which ends the process at once, is right while nothing runs.
        # Whoever stops a whole process group signals this one too, and not its parent alone.
        before = signal.signal(signal.SIGTERM, self._leave)
        try:
            return self.runner.run_all(wake)
        finally:
            signal.signal(signal.SIGTERM, before)
            if self.leaving:
                # Told again once the pool has heard that this is done: now the process ends.
                again = threading.Timer(LEAVE_SECONDS, os.kill, (os.getpid(), signal.SIGTERM))
                again.daemon = True
                again.start()

    def _leave(self, *_: object) -> None:
        self.leaving = True
        self.heartbeat.drain()


#: Celery gives a task nothing to hold on to between two calls.
_children: list[_Child] = []


@setup_logging.connect  # type: ignore[untyped-decorator]  # Celery has no types
def _use_our_logs(**_: object) -> None:
    configure_logging(load_settings())
    # Celery's two lines for each wake say less than the runner's own.
    for name in ("celery.worker.strategy", "celery.app.trace"):
        logging.getLogger(name).setLevel(logging.WARNING)


@worker_process_init.connect  # type: ignore[untyped-decorator]
def _start(**_: object) -> None:
    """Make the child ready before it takes its first wake."""
    from celery import current_app

    lane = Lane.from_dict(current_app.conf[LANE_KEY])
    set_title(f"{lane.title} (child)")
    # A child whose parent was killed would train on, and renew its lease, for nobody.
    if not die_with_parent(current_app.conf[PARENT_KEY], signal.SIGKILL):
        os._exit(EXIT_CANNOT_START)
    try:
        from worker.bootstrap import start

        _children.append(_Child(*start(lane, load_settings())))
    except BaseException:
        # Celery would swallow it and send wakes to a child that cannot serve them.
        log.exception("worker_cannot_start", worker=lane.worker_id)
        os._exit(EXIT_CANNOT_START)


@shared_task(name=WAKE_TASK, bind=True)  # type: ignore[untyped-decorator]
def wake(self: Any, kind: str) -> int:
    """Run what there is to run. Returns the number of jobs that were."""
    return _children[0].run(wake=str(self.request.id))
