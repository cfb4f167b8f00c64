"""Makes a child ready: TensorFlow loaded, the first graph built, its row in `devices`."""

import os
import time
from importlib.metadata import version

import structlog

from shared.database import log_database, make_engine
from shared.job_events import EventPublisher
from shared.settings import Settings
from shared.worker_registry import WorkerInfo
from worker.data.corpora import Corpora
from worker.data.model_cache import ModelCache, Processor
from worker.execution.batch_runner import BatchRunner
from worker.execution.failpoints import make_queue
from worker.execution.heartbeat import Heartbeat
from worker.execution.runner import Runner
from worker.handlers.generate import Generate
from worker.handlers.train import Train
from worker.lane import Lane
from worker.ml import runtime
from worker.ml.sampling.engine import Engine
from worker.ml.sampling.sampler import BUCKETS, EXACT_BUCKETS
from worker.warmup import warm_generate, warm_novelty, warm_train

SHOWN_PACKAGES = ("tensorflow", "keras", "numpy", "celery")

log = structlog.get_logger(__name__)


def start(lane: Lane, settings: Settings) -> tuple[Runner | BatchRunner, Heartbeat]:
    """Load and build everything that the first job needs, then show the worker as ready."""
    began = time.monotonic()
    processor: Processor = "cpu" if lane.gpu_uuid is None else "gpu"
    # The batch_runner runs several batches side by side; one thread each keeps their bits their own.
    threads = settings.train_threads if lane.kind == "train" else 1
    runtime.configure(threads, processor, _memory_bound(lane, settings))
    engine = make_engine(settings.database)
    log_database(engine)
    queue = make_queue(engine, settings)
    me = WorkerInfo(
        host=lane.host,
        device=lane.device,
        lane=lane.kind,
        pid=os.getpid(),
        versions={package: version(package) for package in SHOWN_PACKAGES},
        gpu_uuid=lane.gpu_uuid,
        gpu_name=lane.gpu_name,
    )
    corpora = Corpora(engine)
    heartbeat = Heartbeat(queue, me, EventPublisher(settings.broker))
    runner: Runner | BatchRunner
    if lane.kind == "train":
        train = Train(queue, corpora, processor, settings.train_threads)
        warm_train(processor, settings.train_threads)
        runner = Runner(queue, heartbeat, me, {"train": train})
    else:
        samplers = ModelCache(engine, processor, settings.loaded_bytes)
        warm_generate(engine, samplers, processor)
        warm_novelty(engine, corpora)
        # A GPU is one: batches on it would wait for each other.
        batches = settings.generate_threads if processor == "cpu" else 1
        runner = BatchRunner(
            queue,
            heartbeat,
            me,
            Generate(corpora, samplers),
            Engine(batches),
            room=batches * (EXACT_BUCKETS if processor == "cpu" else BUCKETS)[-1],
            most_jobs=settings.generate_jobs,
        )
    heartbeat.start()
    log.info("worker_ready", worker=me.id, pid=me.pid, seconds=round(time.monotonic() - began, 1))
    return runner, heartbeat


def _memory_bound(lane: Lane, settings: Settings) -> int | None:
    if settings.gpu_memory_share is None or lane.gpu_memory_bytes is None:
        return None
    return int(settings.gpu_memory_share * lane.gpu_memory_bytes)
