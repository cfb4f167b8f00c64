"""Quire's two kinds of jobs written for plain Celery: one task per job.

All of Celery's reliability options are on: late acknowledgement, redelivery after the loss of a
child, soft shutdown, results in Redis under the job's id. Networks, checkpoints and sampling come
from `worker.ml`, so that only the queue differs.

    REDIS_URL=… python -m benchmarks.peers.plain_celery FOLDER    # a worker; FOLDER for checkpoints
"""

import os
import sys
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from celery import Celery, shared_task
from celery.signals import worker_process_init

from shared.broker import celery_url
from shared.settings import load_settings

FOLDER = "PLAIN_CELERY_FOLDER"
VISIBILITY = "PLAIN_CELERY_VISIBILITY_SECONDS"
#: The usual grace period after SIGTERM, less a margin.
SOFT_SHUTDOWN_SECONDS = 10.0
#: Celery's own default for Redis.
VISIBILITY_SECONDS = 3600.0


def make_app(url: str, visibility_seconds: float = VISIBILITY_SECONDS) -> Celery:
    """Create the application, for senders and workers."""
    app = Celery("plain", broker=celery_url(url), backend=celery_url(url), set_as_current=False)
    app.conf.update(
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_track_started=True,
        worker_prefetch_multiplier=1,
        worker_soft_shutdown_timeout=SOFT_SHUTDOWN_SECONDS,
        # TensorFlow must not be forked after it has loaded.
        worker_pool_start_method="spawn",
        worker_proc_alive_timeout=120.0,
        broker_connection_retry_on_startup=True,
        broker_transport_options={"visibility_timeout": visibility_seconds},
        include=["benchmarks.peers.plain_celery"],
        task_routes={"plain.generate": "generate", "plain.*": "train"},
    )
    return app


@shared_task(name="plain.train", bind=True)  # type: ignore[untyped-decorator]  # Celery has no types
def train(self: Any, text: str, spec: dict[str, Any]) -> str:
    """Train from the task's newest checkpoint to the end; return the digest of the last one."""
    from worker.ml.checkpoint import digest, pack, unpack
    from worker.ml.config import TrainConfig
    from worker.ml.training.progress import EpochEnd
    from worker.ml.training.trainer import Trainer
    from worker.ml.vectorize import vectorize

    path = _folder() / f"{self.request.id}.safetensors"
    _note(f"train {self.request.id}")
    vocabulary, ids = vectorize(text)
    state = unpack(path.read_bytes()) if path.exists() else None
    trainer = Trainer(TrainConfig.from_spec(spec, len(vocabulary)), ids, vocabulary, state=state)
    for event in trainer.run():
        if isinstance(event, EpochEnd):
            # Written to a temporary file, then renamed, so that it is never incomplete.
            beside = path.with_suffix(f".{os.getpid()}")
            beside.write_bytes(pack(trainer.state()))
            beside.replace(path)
            _note(f"epoch {self.request.id} {event.epoch}")
    return digest(trainer.state())


@shared_task(name="plain.generate", bind=True)  # type: ignore[untyped-decorator]
def generate(
    self: Any,
    checkpoint: str,
    prompt: str,
    length: int,
    temperatures: Sequence[float],
    seed: int,
) -> list[str]:
    """Generate a text at each temperature with the checkpoint of a training."""
    from worker.ml.sampling.request import SamplingRequest

    _note(f"generate {self.request.id}")
    sampler, vocabulary = _load_model(str(_folder() / f"{checkpoint}.safetensors"))
    ids = vocabulary.encode(prompt)
    requests = [
        SamplingRequest(ids, length, temperature, None, None, seed + i)
        for i, temperature in enumerate(temperatures)
    ]
    return [vocabulary.decode(written) for written in sampler.generate(requests, lambda: False)]


@shared_task(name="plain.poison", bind=True)  # type: ignore[untyped-decorator]
def poison(self: Any) -> None:
    """Kill the child, as a driver's fault or lack of memory would."""
    _note(f"poison {self.request.id}")
    os.kill(os.getpid(), 9)


@lru_cache(maxsize=4)
def _load_model(path: str) -> tuple[Any, Any]:
    from worker.ml.checkpoint import unpack
    from worker.ml.sampling.sampler import Sampler
    from worker.ml.vocabulary import Vocabulary

    state = unpack(Path(path).read_bytes())
    return Sampler(state.weights, state.network), Vocabulary(state.characters)


def _folder() -> Path:
    return Path(os.environ[FOLDER])


def _note(line: str) -> None:
    """Append a line to the log that benchmarks/faults.py counts."""
    with (_folder() / "ran.log").open("a") as file:
        file.write(line + "\n")


@worker_process_init.connect  # type: ignore[untyped-decorator]
def _load(**_: object) -> None:
    """Load TensorFlow before the first job, with the threads that Quire would give it."""
    from worker.ml import runtime

    runtime.configure(load_settings().train_threads, "cpu")


app = make_app(
    os.environ.get("REDIS_URL", "redis://"),
    float(os.environ.get(VISIBILITY, VISIBILITY_SECONDS)),
)


def command(queues: str = "train,generate") -> tuple[str, ...]:
    """Return the command line of a worker that takes one job at a time from these queues."""
    words = ("celery", "-A", "benchmarks.peers.plain_celery", "worker", "-c", "1", "-P", "prefork")
    quiet = ("-l", "info", "--without-gossip", "--without-mingle")
    return (sys.executable, "-m", *words, "-Q", queues, "-n", f"{os.urandom(4).hex()}@%h", *quiet)


def main(folder: str) -> None:
    """Become a worker that keeps its checkpoints in a folder."""
    os.execve(sys.executable, command(), os.environ | {FOLDER: folder})  # noqa: S606  # no shell


if __name__ == "__main__":
    main(*sys.argv[1:])
