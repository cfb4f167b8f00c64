"""A batch_runner in the test's own process, and what it needs: networks that nobody has to train."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from shared import blobs
from shared.queue.types import CheckpointRecord, Claim
from shared.worker_registry import WorkerInfo, register
from tests.worker.harness import World, make_world, some_text
from worker.data.corpora import Corpora
from worker.data.model_cache import ModelCache
from worker.execution.batch_runner import BatchRunner
from worker.execution.heartbeat import Heartbeat
from worker.handlers.generate import Generate
from worker.ml.checkpoint import Checkpoint, digest, pack
from worker.ml.config import NetworkConfig
from worker.ml.model import initial_weights
from worker.ml.sampling.engine import Engine

NOWHERE = "redis://127.0.0.1:1/0"
ME = WorkerInfo("here", "cpu", "generate", 1, {})
CHARACTERS = "".join(sorted(set(some_text())))
#: So long that a test surely does something before its end, and is cancelled or drained after it.
ENDLESS = 1_000_000
SMALL = NetworkConfig(len(CHARACTERS), embedding=8, units=16, layers=1, window=None)


@contextmanager
def bare_world(database_url: str, directory: Path) -> Iterator[World]:
    """A world without Redis and without workers but a test's own."""
    world = make_world(database_url, NOWHERE, directory)
    yield world
    world.engine.dispose()


def begin_training(world: World) -> Claim:
    """A training that runs, and whose checkpoints the test saves."""
    job_id = world.train(wake=False)
    [claim] = world.queue.claim("train", "here/cpu/train")
    assert claim.job_id == job_id
    return claim


def save(
    world: World, training: Claim, *, step: int = 1, seed: int = 0, network: NetworkConfig = SMALL
) -> str:
    """An untrained network as a checkpoint, better than those of lesser steps; its id."""
    weights = {name: array * 3 for name, array in initial_weights(network, seed).items()}
    state = Checkpoint(weights, {}, network, CHARACTERS, lowercase=False, meta={})
    data = pack(state)
    sha256 = blobs.store(world.engine, data)
    record = CheckpointRecord(step, 1.0, 1.0, 1 / step, digest(state), sha256, len(data))
    return world.queue.record_checkpoint(training, record)


def make_model(world: World, seed: int = 0, network: NetworkConfig = SMALL) -> str:
    """A model with one checkpoint; its id."""
    training = begin_training(world)
    save(world, training, seed=seed, network=network)
    world.queue.succeed(training)
    assert training.model_id
    return training.model_id


def make_batch_runner(world: World, *, most_jobs: int = 100) -> BatchRunner:
    """One that is ready, its heartbeat beating."""
    register(world.engine, ME, ready=True)
    generate = Generate(Corpora(world.engine), ModelCache(world.engine, "cpu", 10**8))
    heartbeat = Heartbeat(world.queue, ME)
    heartbeat.start()
    return BatchRunner(
        world.queue, heartbeat, ME, generate, Engine(2), room=64, most_jobs=most_jobs
    )


@contextmanager
def at_work(batch_runner: BatchRunner) -> Iterator[threading.Thread]:
    """A batch_runner that runs beside the test, until nothing is left."""
    thread = threading.Thread(target=batch_runner.run_all, args=("a wake",))
    thread.start()
    yield thread
    thread.join(60)
    assert not thread.is_alive()
    batch_runner._heartbeat.stop()


def run(world: World) -> int:
    """Let a batch_runner run all there is; how many jobs it ran."""
    batch_runner = make_batch_runner(world)
    count = batch_runner.run_all("a wake")
    batch_runner._heartbeat.stop()
    return count


def write(world: World, model: str, **asked: Any) -> list[Any]:
    """The texts of one job, run alone."""
    job_id = world.generate(model, wake=False, **asked)
    run(world)
    world.succeeded(job_id, 0)
    return world.texts(job_id)


def written(batch_runner: BatchRunner, job_id: str) -> int:
    """Tokens that a batch_runner has of a job's first text; none before it has begun."""
    for (held, _), run in list(batch_runner._runs.items()):
        if held == job_id:
            return len(run.writing.texts[0].stream.written)
    return 0
