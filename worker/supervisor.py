"""Supervises one host's workers, two or more Celery workers a device, and runs maintenance."""

import argparse
import contextlib
import os
import sys
from collections.abc import Sequence

import structlog

from shared.broker import Broker
from shared.database import log_database, make_engine
from shared.event_publisher import EventPublisher
from shared.logs import configure_logging
from shared.process.python_module import python_module
from shared.process.supervisor import Child, ProcessSupervisor, StopRequested
from shared.process.title import set_title
from shared.queue import Queue
from shared.settings import Settings, SettingsError, load_settings
from shared.worker_instances import NameHeld, new_instance_id
from worker.devices import BadDevice, LocalDevice, find_devices
from worker.gpu.inventory import mps_runs
from worker.gpu_watch import GpuWatch
from worker.instance import WorkerNames
from worker.lane import BadSlots, Lane, lanes_of, memory_part
from worker.maintenance import Maintenance

#: Time for a training to save a checkpoint and return to the queue. All lanes stop at once, and
#: within the 30 s after which process managers kill.
LANE_GRACE_SECONDS = 25.0
#: Another worker has the name that this one was given, which is a setting to change.
EXIT_NAME_TAKEN = 3

log = structlog.get_logger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run this host's workers until TERM or INT.

    Returns:
        The process's exit code: 0, 2 for an invalid setting, or 3 if another worker runs under this
        host's name.
    """
    try:
        settings = _settings(arguments)
        broker = Broker(settings.broker)
        devices = find_devices(settings.devices)
        instance_id = new_instance_id()
        lanes = [
            (device, lane)
            for device in devices
            for lane in lanes_of(settings.host_name, device, settings, instance_id)
        ]
    except (SettingsError, BadDevice, BadSlots) as error:
        print(error, file=sys.stderr)
        return 2
    configure_logging(settings)
    set_title(f"supervisor {settings.host_name}")
    engine = make_engine(settings.database)
    log_database(engine)
    log.info(
        "supervisor_started",
        host=settings.host_name,
        devices=[device.name for device in devices],
        instance=instance_id,
    )
    _tell_slots(lanes, settings)
    queue = Queue(engine, settings)
    maintenance = Maintenance(queue, broker, EventPublisher(queue.settings.broker))
    with ProcessSupervisor() as supervisor, supervisor.signals():
        workers = [lane.describe(settings) for _, lane in lanes]
        names = WorkerNames(engine, workers, settings, on_lost=supervisor.request_stop)
        try:
            if not names.take(lambda: supervisor.stopping):
                return 0
        except NameHeld as error:
            log.error("worker_name_taken", reason=str(error))
            return EXIT_NAME_TAKEN
        names.hold()
        maintenance.start()
        gpus = GpuWatch(engine, settings, lanes)
        gpus.start()
        usable = [(device, lane) for device, lane in lanes if device.problem is None]

        def start(found: Sequence[tuple[LocalDevice, Lane]]) -> None:
            supervisor.start_together(*(_child(device, lane, settings) for device, lane in found))

        with contextlib.suppress(StopRequested):
            start(usable)
            supervisor.watch(lambda: start(gpus.found_again()))
        gpus.stop()
        maintenance.stop()
        supervisor.terminate_all()
        supervisor.stop()
        names.stop()
    log.info("supervisor_stopped", host=settings.host_name)
    return EXIT_NAME_TAKEN if names.lost else 0


def _tell_slots(lanes: Sequence[tuple[LocalDevice, Lane]], settings: Settings) -> None:
    """Say of each divided device how its trainings share it."""
    for device, lane in lanes:
        if lane.slots == 1 or lane.slot:
            continue
        sharing = "cores"
        if device.gpu is not None:
            sharing = "at once, through MPS" if mps_runs() else "in turns, as MPS does not run"
        log.info(
            "train_slots",
            device=device.name,
            slots=lane.slots,
            bytes_of_each=memory_part(lane, settings),
            sharing=sharing,
        )


def _settings(arguments: Sequence[str] | None) -> Settings:
    parser = argparse.ArgumentParser(
        prog="python -m worker", description="Run this host's workers."
    )
    parser.add_argument(
        "--devices",
        help="auto, gpu, or a comma-separated list of cpu, cpu:N, gpu:N, gpu:N.M or GPU UUIDs "
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
        # TensorFlow's C++ side reads its log level only when it loads. Why it can't use a GPU is a
        # warning.
        "TF_CPP_MIN_LOG_LEVEL": os.environ.get(
            "TF_CPP_MIN_LOG_LEVEL", "2" if device.gpu is None else "1"
        ),
    }
    argv = python_module("worker.celery_process", *lane.arguments())
    return Child(
        name=f"{lane.name} on {lane.device}",
        argv=argv,
        environment=environment,
        grace_seconds=LANE_GRACE_SECONDS,
    )
