"""The Celery side: what a child does as it starts, and what it does when it is woken."""

import logging
import os
import signal
from typing import TYPE_CHECKING, Any

import structlog
from celery import shared_task
from celery.signals import setup_logging, worker_process_init

from shared.broker import WAKE_TASK
from shared.logs import configure_logging
from shared.settings import load_settings
from shared.tether import tie
from worker.lane import Lane

if TYPE_CHECKING:
    from worker.desk import Desk
    from worker.runner import Runner

#: Where Celery's configuration, which reaches the child, holds the lane.
LANE_KEY = "quire_lane"
#: And where the process id of whoever starts the child.
PARENT_KEY = "quire_parent"
EXIT_CANNOT_START = 70

log = structlog.get_logger(__name__)
#: Celery gives a task nothing to hold on to between two calls; each child runs one runner.
_runners: list["Runner | Desk"] = []


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
    # A child whose parent was killed would train on, and renew its lease, for nobody.
    if not tie(current_app.conf[PARENT_KEY], signal.SIGKILL):
        os._exit(EXIT_CANNOT_START)
    try:
        from worker.start import start

        _runners.append(start(lane, load_settings()))
    except BaseException:
        # Celery would swallow it and send wakes to a child that cannot serve them.
        log.exception("worker_cannot_start", worker=lane.worker_id)
        os._exit(EXIT_CANNOT_START)


@shared_task(name=WAKE_TASK, bind=True)  # type: ignore[untyped-decorator]
def wake(self: Any, kind: str) -> int:
    """Run what there is to run. Returns the number of jobs that were."""
    return _runners[0].run_all(wake=str(self.request.id))
