"""Supervises one host's workers, two Celery workers for each device, and runs maintenance."""

import argparse
import contextlib
import os
import sys
from collections.abc import Sequence
from itertools import product

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
from shared.settings import Settings, SettingsError, load_settings
from shared.tables import Kind
from shared.worker_registry import WorkerInfo
from worker.devices import BadDevice, LocalDevice, find_devices
from worker.execution.outages import DATABASE_AWAY, driver_message
from worker.lane import Lane
from worker.maintenance import Maintenance

#: Each kind has its own lane, so that a short text never waits behind a long training.
LANES: tuple[Kind, ...] = ("train", "generate")
#: Time for a training to save a checkpoint and return to the queue. All lanes stop at once, and
#: within the 30 s after which process managers kill.
LANE_GRACE_SECONDS = 25.0

log = structlog.get_logger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run this host's workers until TERM or INT.

    Returns:
        The process's exit code: 0, or 2 for an invalid setting.
    """
    try:
        settings = _settings(arguments)
        broker = Broker(settings.broker)
        devices = find_devices(settings.devices)
    except (SettingsError, BadDevice) as error:
        print(error, file=sys.stderr)
        return 2
    configure_logging(settings)
    set_title(f"supervisor {settings.host_name}")
    engine = make_engine(settings.database)
    log_database(engine)
    lanes = [
        (device, Lane.of(settings.host_name, kind, device))
        for device, kind in product(devices, LANES)
    ]
    names = [device.name for device in devices]
    log.info("supervisor_started", host=settings.host_name, devices=names)
    queue = Queue(engine, settings)
    _register(queue, [lane for _, lane in lanes])
    maintenance = Maintenance(queue, broker, EventPublisher(queue.settings.broker))
    with ProcessSupervisor() as supervisor, supervisor.signals():
        maintenance.start()
        children = [_child(device, lane, settings) for device, lane in lanes]
        with contextlib.suppress(StopRequested):
            supervisor.start_together(*children)
            supervisor.watch()
        maintenance.stop()
        supervisor.terminate_all()
    log.info("supervisor_stopped", host=settings.host_name)
    return 0


def _settings(arguments: Sequence[str] | None) -> Settings:
    parser = argparse.ArgumentParser(
        prog="python -m worker", description="Run this host's workers."
    )
    parser.add_argument(
        "--devices",
        help="auto, or a comma-separated list of cpu, cpu:N, gpu:N or GPU UUIDs "
        "[default: QUIRE_DEVICES]",
    )
    parser.add_argument(
        "--host-name", help="the name of this host, unique among hosts [default: the system's]"
    )
    given = {name: value for name, value in vars(parser.parse_args(arguments)).items() if value}
    return load_settings(**given)


def _child(device: LocalDevice, lane: Lane, settings: Settings) -> Child:
    environment = {
        **os.environ,
        **device.environment,
        # Set here, before a lane is pinned to cores: all lanes must compute with equal threads.
        "QUIRE_TRAIN_THREADS": str(settings.train_threads),
        # Celery would set a process title of its own.
        "NOSETPS": "1",
        # A process title must not overwrite the environment in /proc, which operators read.
        "SPT_NOENV": "1",
        # TensorFlow's C++ side reads its log level only when it loads.
        "TF_CPP_MIN_LOG_LEVEL": os.environ.get("TF_CPP_MIN_LOG_LEVEL", "2"),
    }
    argv = python_module("worker.celery_process", *lane.arguments())
    return Child(
        name=f"{lane.kind} on {lane.device}",
        argv=argv,
        environment=environment,
        grace_seconds=LANE_GRACE_SECONDS,
    )


def _register(queue: Queue, lanes: Sequence[Lane]) -> None:
    """Register all lanes as not ready: rows of an earlier run may say that they are."""
    try:
        for lane in lanes:
            worker = WorkerInfo(
                lane.host, lane.device, lane.kind, os.getpid(), {}, lane.gpu_uuid, lane.gpu_name
            )
            worker_registry.register(queue.engine, worker, ready=False)
    except DATABASE_AWAY as error:
        log.warning("database_away", reason=driver_message(error))
