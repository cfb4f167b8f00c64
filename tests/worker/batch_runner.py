"""A batch runner in the test's own process, and untrained models for it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from shared import blobs
from shared.queue.types import CheckpointRecord, Claim
from shared.worker_registry import WorkerInfo, register
from tests.worker.harness import WorkerHarness, make_harness, some_text
from worker.data.corpora import Corpora
from worker.data.model_cache import ModelCache
from worker.execution.batching.batch_runner import BatchRunner
from worker.execution.heartbeat import Heartbeat
from worker.execution.wakes.wake_relay import WakeRelay
from worker.handlers.generate import Generate
from worker.ml.checkpoint import TrainingState, digest, pack
from worker.ml.config import NetworkConfig
from worker.ml.model import initial_weights
from worker.ml.sampling.engine import Engine

UNREACHABLE_REDIS = "redis://127.0.0.1:1/0"
WORKER = WorkerInfo("here", "cpu", "generate", 1, {})
CHARACTERS = "".join(sorted(set(some_text())))
#: The most jobs that a batch runner claims at once.
ONE_BATCH = 32
#: So long that the text is surely unfinished when a test cancels or drains it.
ENDLESS = 1_000_000
SMALL = NetworkConfig(len(CHARACTERS), embedding=8, units=16, layers=1, window=None)


@contextmanager
def bare_harness(database_url: str, directory: Path) -> Iterator[WorkerHarness]:
    """A harness without Redis, whose only workers run in the test's own process."""
    harness = make_harness(database_url, UNREACHABLE_REDIS, directory)
    yield harness
    harness.engine.dispose()


def begin_training(harness: WorkerHarness) -> Claim:
    """Claim a training whose checkpoints the test saves itself."""
    job_id = harness.train(wake=False)
    [claim] = harness.queue.claim("train", "here/cpu/train")
    assert claim.job_id == job_id
    return claim


def save(
    harness: WorkerHarness,
    training: Claim,
    *,
    step: int = 1,
    seed: int = 0,
    network: NetworkConfig = SMALL,
    words: tuple[str, ...] = (),
) -> str:
    """Save an untrained network as a checkpoint, better than earlier ones. Returns its id."""
    network = replace(network, vocabulary_size=len(CHARACTERS) + len(words))
    weights = {name: array * 3 for name, array in initial_weights(network, seed).items()}
    state = TrainingState(weights, {}, network, CHARACTERS, lowercase=False, meta={}, words=words)
    data = pack(state)
    sha256 = blobs.store(harness.engine, data)
    record = CheckpointRecord(step, 1.0, 1.0, 1 / step, digest(state), sha256, len(data))
    return harness.queue.record_checkpoint(training, record)


def make_model(
    harness: WorkerHarness,
    seed: int = 0,
    network: NetworkConfig = SMALL,
    words: tuple[str, ...] = (),
) -> str:
    """Make a model with one checkpoint. Returns its id."""
    training = begin_training(harness)
    save(harness, training, seed=seed, network=network, words=words)
    harness.queue.succeed(training)
    assert training.model_id
    return training.model_id


def make_batch_runner(
    harness: WorkerHarness,
    *,
    max_jobs: int = 100,
    memory_bytes: int | None = None,
    relay: WakeRelay | None = None,
) -> BatchRunner:
    """A registered batch runner with a running heartbeat."""
    register(harness.engine, WORKER, ready=True)
    models = ModelCache(harness.engine, "cpu", 10**8, memory_bytes)
    generate = Generate(Corpora(harness.engine), models)
    heartbeat = Heartbeat(harness.queue, WORKER)
    heartbeat.start()
    return BatchRunner(
        harness.queue,
        heartbeat,
        WORKER,
        generate,
        Engine(2),
        full_batch=2 * ONE_BATCH,
        one_batch=ONE_BATCH,
        max_jobs=max_jobs,
        memory_bytes=memory_bytes,
        relay=relay,
    )


@contextmanager
def running(batch_runner: BatchRunner) -> Iterator[threading.Thread]:
    """Let a batch runner work in a thread until no job is left."""
    thread = threading.Thread(target=batch_runner.run_all, args=("a wake",))
    thread.start()
    yield thread
    thread.join(60)
    assert not thread.is_alive()
    batch_runner._heartbeat.stop()


def run(harness: WorkerHarness) -> int:
    """Run all jobs in a batch runner. Returns how many it ran."""
    batch_runner = make_batch_runner(harness)
    count = batch_runner.run_all("a wake")
    batch_runner._heartbeat.stop()
    return count


def write(harness: WorkerHarness, model: str, **fields: Any) -> list[Any]:
    """Generate one job's texts, with no other job in the batch."""
    job_id = harness.generate(model, wake=False, **fields)
    run(harness)
    harness.wait_until_succeeded(job_id, 0)
    return harness.texts(job_id)


def written(batch_runner: BatchRunner, job_id: str) -> int:
    """How many tokens of a job's first text are written; 0 before the job has started."""
    for (started, _), run in list(batch_runner._runs.items()):
        if started == job_id:
            return len(run.generation.sequences[0].output_ids)
    return 0
