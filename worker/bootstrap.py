"""Prepares a child process: loads TensorFlow, builds graphs, registers the worker."""

import os
import signal
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version

import structlog

from shared import device_health
from shared.broker import Broker
from shared.database import log_database, make_engine
from shared.event_publisher import EventPublisher
from shared.job_ends import JobEndPublisher
from shared.job_listeners import AnnouncementListener
from shared.job_traces import job_traces
from shared.settings import Settings
from shared.worker_registry import WorkerInfo
from worker.data.corpora import Corpora
from worker.data.model_cache import ModelCache, Processor
from worker.execution.batching.batch_runner import BatchRunner
from worker.execution.completion import RunFinisher
from worker.execution.device_guard import DeviceGuard
from worker.execution.failpoints import make_queue
from worker.execution.heartbeat import Heartbeat
from worker.execution.run_spans import RunSpans
from worker.execution.runner import Runner
from worker.execution.wakes.linger import LOOK_SECONDS, Linger
from worker.execution.wakes.wake_relay import WakeRelay
from worker.handlers.generate import Generate
from worker.handlers.train import Train
from worker.lane import Lane, memory_limit, memory_part, quarantine_rule
from worker.ml import probe, runtime
from worker.ml.sampling.engine import Engine
from worker.ml.sampling.sampler import BUCKETS, EXACT_BUCKETS
from worker.wake_transport import WakeList
from worker.warmup import find_crossover, warm_generate, warm_novelty, warm_train

REPORTED_PACKAGES = ("tensorflow", "keras", "numpy", "celery")

log = structlog.get_logger(__name__)


def start(
    lane: Lane, settings: Settings, leave_device: Callable[[], object]
) -> tuple[Runner | BatchRunner, Heartbeat, Linger | None]:
    """Load and build everything the first job needs, then register the worker as ready.

    Args:
        lane: The lane.
        settings: The settings.
        leave_device: Ends the lane's processes, because its device has failed.

    Raises:
        DeviceBroken: The lane's GPU is not there, or does not compute as it should.
    """
    began = time.monotonic()
    processor: Processor = "cpu" if lane.gpu_uuid is None else "gpu"
    if processor == "gpu":
        _announce(probe.find_one_gpu())
    # The batch runner runs several batches at once; one thread each keeps results exact.
    threads = settings.train_threads if lane.kind == "train" else 1
    runtime.configure(threads, processor, memory_limit(lane, settings))
    engine = make_engine(settings.database)
    log_database(engine)
    if processor == "gpu" or device_health.find_problem(engine, lane.host, lane.device):
        probe.probe(processor)
        if device_health.record_sound(engine, lane.host, lane.device):
            log.info("device_freed", device=lane.device)
    queue = make_queue(engine, settings)
    worker = WorkerInfo(
        host=lane.host,
        device=lane.device,
        lane=lane.kind,
        pid=os.getpid(),
        versions={package: version(package) for package in REPORTED_PACKAGES},
        gpu_uuid=lane.gpu_uuid,
        gpu_name=lane.gpu_name,
        gpu_memory_bytes=memory_part(lane, settings),
        instance_id=lane.instance_id,
        slot=lane.slot,
        slots=lane.slots,
    )
    corpora = Corpora(engine)
    publisher = EventPublisher(settings.broker)
    rule = quarantine_rule(settings, of_gpu=processor == "gpu")
    guard = DeviceGuard(engine, lane.host, lane.device, rule, leave=leave_device, renew=renew)
    traces = job_traces(settings, "quire-worker")
    spans = None if traces is None else RunSpans(traces)
    heartbeat = Heartbeat(queue, worker, publisher, guard, spans)
    finisher = RunFinisher(queue, JobEndPublisher(settings.broker).publish, guard, spans)
    any_runnable = partial(queue.any_runnable, lane.kind)
    relay = WakeRelay(any_runnable, partial(Broker(settings.broker).wake_soon, lane.kind))
    linger: Linger | None = None
    runner: Runner | BatchRunner
    if lane.kind == "train":
        train = Train(queue, corpora, processor, settings.train_threads)
        if settings.warm_models:
            warm_train(processor, settings.train_threads)
        runner = Runner(queue, heartbeat, worker, {"train": train}, finisher=finisher, relay=relay)
    else:
        models = ModelCache(
            engine, processor, settings.loaded_bytes, settings.generate_memory_bytes
        )
        crossover = find_crossover(processor)
        if settings.warm_models:
            warm_generate(
                engine, models, processor, newest=settings.warm_models, crossover=crossover
            )
            warm_novelty(engine, corpora, newest=settings.warm_models)
        # On one GPU, batches would only wait for each other; one on the CPU may run beside it.
        batches = settings.generate_threads if processor == "cpu" else 1
        one_batch = (EXACT_BUCKETS if processor == "cpu" else BUCKETS)[-1]
        runner = BatchRunner(
            queue,
            heartbeat,
            worker,
            Generate(corpora, models),
            Engine(batches, crossover=crossover),
            full_batch=batches * one_batch,
            one_batch=one_batch,
            max_jobs=settings.generate_jobs,
            memory_bytes=settings.generate_memory_bytes,
            finisher=finisher,
            relay=relay,
            listened=publisher.listened,
        )
        AnnouncementListener(settings.broker, publisher.note_listener).start()
        wakes = WakeList(settings.broker, lane.kind, LOOK_SECONDS)
        linger = Linger(wakes.take, any_runnable, lambda: heartbeat.draining)
    heartbeat.start()
    log.info(
        "worker_ready", worker=worker.id, pid=worker.pid, seconds=round(time.monotonic() - began, 1)
    )
    return runner, heartbeat, linger


def _announce(gpu: probe.FoundGpu) -> None:
    """Say that a start takes long, before it does."""
    log.info("gpu_found", name=gpu.name, capability=gpu.capability)
    if not gpu.compiled:
        log.warning(
            "compiling_for_the_gpu",
            capability=gpu.capability,
            hint="the driver compiles TensorFlow's programs for this GPU, which takes minutes, and "
            "keeps them in CUDA_CACHE_PATH for the next start",
        )


def renew() -> None:
    """End this process as a drain does; its parent replaces it."""
    os.kill(os.getpid(), signal.SIGTERM)
