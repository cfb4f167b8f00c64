"""One for each host: keeps two Celery workers for each device, and sweeps."""

import argparse
import contextlib
import os
import sys
from collections.abc import Sequence

import structlog

from shared import worker_registry
from shared.broker import Broker
from shared.database import log_database, make_engine
from shared.job_events import EventPublisher
from shared.logs import configure_logging
from shared.process.python_module import python_module
from shared.process.supervisor import Child, ProcessSupervisor, StopRequested
from shared.process.title import set_title
from shared.queue import Queue
from shared.queue.types import Kind
from shared.settings import Settings, SettingsError, load_settings
from shared.worker_registry import WorkerInfo
from worker.devices import BadDevice, LocalDevice, find_devices
from worker.execution.lease import DATABASE_AWAY, reason
from worker.lane import Lane
from worker.maintenance import Sweeper

#: A lane for each, so that a short text never waits behind a long training.
LANES: tuple[Kind, ...] = ("train", "generate")
#: In which a training writes its checkpoint and goes back to the line: all lanes at once, and the
#: whole of it within 30 s, after which Docker and others kill.
LANE_GRACE_SECONDS = 25.0

log = structlog.get_logger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run this host's workers until TERM or INT.

    Returns:
        The process's exit code: 0, or 2 for a setting that is not allowed.
    """
    try:
        settings = _settings(arguments)
        broker = Broker(settings.broker)
        found = find_devices(settings.devices)
    except (SettingsError, BadDevice) as error:
        print(error, file=sys.stderr)
        return 2
    configure_logging(settings)
    set_title(f"supervisor {settings.host_name}")
    engine = make_engine(settings.database)
    log_database(engine)
    lanes = [(device, Lane.of(settings.host_name, kind, device))
             for device in found for kind in LANES]  # fmt: skip
    log.info("supervisor_started", host=settings.host_name, devices=[one.name for one in found])
    queue = Queue(engine, settings)
    _show(queue, [lane for _, lane in lanes])
    sweeper = Sweeper(queue, broker, EventPublisher(queue.settings.broker))
    with ProcessSupervisor() as supervisor, supervisor.signals():
        sweeper.start()
        children = [_child(device, lane, settings) for device, lane in lanes]
        with contextlib.suppress(StopRequested):
            supervisor.start_together(*children)
            supervisor.watch()
        sweeper.stop()
        supervisor.terminate_all()
    log.info("supervisor_stopped", host=settings.host_name)
    return 0


def _settings(arguments: Sequence[str] | None) -> Settings:
    parser = argparse.ArgumentParser(
        prog="python -m worker", description="Run this host's workers."
    )
    parser.add_argument(
        "--devices",
        help="auto, or a list of cpu, cpu:N, gpu:N and GPUs' UUIDs [default: QUIRE_DEVICES]",
    )
    parser.add_argument("--host-name", help="what others call this host [default: its own name]")
    given = {name: value for name, value in vars(parser.parse_args(arguments)).items() if value}
    return load_settings(**given)


def _child(device: LocalDevice, lane: Lane, settings: Settings) -> Child:
    environment = {
        **os.environ,
        **device.environment,
        # Counted here, before a lane is pinned: every lane computes with the same threads.
        "QUIRE_TRAIN_THREADS": str(settings.train_threads),
        # Celery would set a process title of its own.
        "NOSETPS": "1",
        # Its C++ side is told to keep to warnings before it loads, or not at all.
        "TF_CPP_MIN_LOG_LEVEL": os.environ.get("TF_CPP_MIN_LOG_LEVEL", "2"),
    }
    argv = python_module("worker.celery_process", *lane.arguments())
    return Child(
        name=f"{lane.kind} on {lane.device}",
        argv=argv,
        environment=environment,
        grace_seconds=LANE_GRACE_SECONDS,
    )


def _show(queue: Queue, lanes: Sequence[Lane]) -> None:
    """Show all lanes as not ready yet: an earlier run's rows may say that they are."""
    try:
        for lane in lanes:
            me = WorkerInfo(
                lane.host, lane.device, lane.kind, os.getpid(), {}, lane.gpu_uuid, lane.gpu_name
            )
            worker_registry.register(queue.engine, me, ready=False)
    except DATABASE_AWAY as error:
        log.warning("database_away", reason=reason(error))
