"""A database, a Redis and real workers as subprocesses, for the tests of this directory."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from shared import accounts, blobs
from shared.broker import Broker
from shared.clock import database_now
from shared.corpus_text import normalise
from shared.database import make_engine, make_sessions
from shared.generation_spec import GenerateSpec
from shared.presets import resolve_train
from shared.queue import Queue
from shared.records import Kind, Submission
from shared.settings import Settings
from shared.tables import (
    TERMINAL_STATUSES,
    Checkpoint,
    Corpus,
    Device,
    GeneratedText,
    Job,
    JobEvent,
    Metric,
    Model,
    User,
)

READY_SECONDS = 90.0
PATIENCE_SECONDS = 60.0
#: Threads and shards of every training here: results are compared to the bit.
THREADS = 1
#: Small enough that an epoch takes a fraction of a second once it is compiled.
#: It learns slowly, so that a long training is not stopped early.
TINY = {
    "window": 16,
    "units": 16,
    "embedding": 8,
    "batch_size": 8,
    "epochs": 2,
    "held_out": 0.1,
    "learning_rate": 4e-3,
    "sample": None,
}
WORDS = (
    "the",
    "a",
    "old",
    "grey",
    "fox",
    "dog",
    "sea",
    "ship",
    "and",
    "of",
    "under",
    "runs",
    "sings",
)

Found = TypeVar("Found")


def some_text(words: int = 1200) -> str:
    """A corpus that is the same every time."""
    chosen = random.Random(7).choices(WORDS, k=words)
    return ". ".join(" ".join(chosen[i : i + 8]).capitalize() for i in range(0, words, 8))


def until(look: Callable[[], Found | None], what: str, seconds: float = PATIENCE_SECONDS) -> Found:
    """Look again and again until there is something; what it is."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s"
        time.sleep(0.05)
    return found


@dataclass
class Worker:
    """A running ``python -m worker``."""

    process: subprocess.Popen[bytes]
    log_path: Path

    @property
    def log(self) -> str:
        """Everything it and its children have said."""
        return self.log_path.read_text(errors="replace")

    def stop(self, seconds: float = 35.0) -> float:
        """End it as `quire up` would; the seconds it took."""
        started = time.monotonic()
        self.process.terminate()
        self.process.wait(seconds)
        return time.monotonic() - started


@dataclass
class World:
    """What a test needs to submit jobs and look at what became of them."""

    engine: Engine
    queue: Queue
    broker: Broker
    environment: dict[str, str]
    directory: Path
    corpora: dict[str, str] = field(default_factory=dict)
    workers: int = 0

    # -- workers ------------------------------------------------------------------------------

    @contextmanager
    def worker(
        self,
        devices: str = "cpu",
        host: str = "here",
        ready: bool = True,
        variables: Mapping[str, str] | None = None,
        directory: Path | None = None,
    ) -> Iterator[Worker]:
        """Run a supervisor with its workers until the block is left.

        Args:
            devices: As `--devices`.
            host: As `--host-name`.
            ready: Wait until all of its lanes are.
            variables: More of its environment.
            directory: Of its source; this one's if not given.
        """
        self.workers += 1
        log_path = self.directory / f"worker-{self.workers}.log"
        argv = [sys.executable, "-m", "worker", "--devices", devices, "--host-name", host]
        with log_path.open("wb") as output:
            process = subprocess.Popen(
                argv,
                cwd=directory,
                env={**self.environment, **(variables or {})},
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        worker = Worker(process, log_path)
        try:
            if ready:
                count = 2 * len(devices.split(","))
                try:
                    until(
                        lambda: len([d for d in self.devices(host) if d.ready_at]) == count,
                        "workers",
                        READY_SECONDS,
                    )
                except AssertionError as error:
                    raise AssertionError(f"{error}\n{worker.log}") from None
            yield worker
        finally:
            if process.poll() is None:
                try:
                    worker.stop()
                finally:
                    process.kill()
                    process.wait()

    def devices(self, host: str = "here") -> list[Device]:
        """The rows of a host's workers."""
        with self.reading() as session:
            query = select(Device).where(Device.host == host).order_by(Device.id)
            return list(session.scalars(query))

    def child(self, lane: Kind, device: str = "cpu", host: str = "here") -> int:
        """The process in which the jobs of a lane run."""
        with self.reading() as session:
            row = session.get_one(Device, f"{host}/{device}/{lane}")
            return row.pid

    # -- jobs -----------------------------------------------------------------------------------

    def user(self, name: str = "ada") -> str:
        """A user's id; made on first mention."""
        with make_sessions(self.engine).begin() as session:
            found = session.scalar(select(User.id).where(User.name == name))
            if found is not None:
                return found
            return accounts.create_user(session, name).id

    def corpus(self, text: str) -> str:
        """A corpus's id; stored on first mention."""
        if text not in self.corpora:
            normal = normalise(text)
            data = normal.text.encode()
            sha256 = blobs.store(self.engine, data)
            with make_sessions(self.engine).begin() as session:
                row = Corpus(
                    user_id=self.user_in(session),
                    name="text",
                    sha256=sha256,
                    encoding="utf-8",
                    bytes=len(data),
                    characters=len(normal.text),
                    alphabet=normal.alphabet,
                    alphabet_lowercase=normal.alphabet_lowercase,
                    distinct_characters=len(normal.alphabet),
                    created_at=database_now(session.connection()),
                )
                session.add(row)
                session.flush()
                self.corpora[text] = row.id
        return self.corpora[text]

    def user_in(self, session: Any) -> str:
        """The one user of most tests, within a session."""
        found = session.scalar(select(User.id).where(User.name == "ada"))
        if found is None:
            user = accounts.create_user(session, "ada")
            session.flush()
            found = user.id
        return str(found)

    def train(
        self,
        text: str | None = None,
        *,
        wake: bool = True,
        seed: int = 1,
        preset: Any = "default",
        name: str = "train",
        user: str = "ada",
        order: Mapping[str, Any] | None = None,
        **changes: Any,
    ) -> str:
        """Submit a training of a new model; the job's id. `order` is more of the submission."""
        corpus_id = self.corpus(text or some_text())
        spec = resolve_train(preset, TINY | changes, seed=seed, threads=THREADS, shards=1)
        with make_sessions(self.engine).begin() as session:
            corpus = session.get_one(Corpus, corpus_id)
            alphabet = corpus.alphabet_lowercase if spec.lowercase else corpus.alphabet
            model = Model(
                user_id=self.user_in(session),
                name="model",
                corpus_id=corpus_id,
                spec=spec.model_dump(),
                vocabulary=alphabet,
                vocabulary_size=len(alphabet),
                characters_per_token=1.0 if spec.tokenizer == "char" else None,
                created_at=database_now(session.connection()),
            )
            session.add(model)
            session.flush()
            model_id = model.id
        plain = spec.model_dump()
        return self._submit("train", plain, model_id, corpus_id, wake, name, user, order)

    def generate(
        self,
        model_id: str,
        *,
        wake: bool = True,
        checkpoint: str = "best",
        prompt: str | None = "The old ",
        length: int = 40,
        temperatures: tuple[float, ...] = (0.5,),
        n: int = 1,
        seed: int = 5,
        user: str = "ada",
        name: str = "generate",
        order: Mapping[str, Any] | None = None,
        **changes: Any,
    ) -> str:
        """Submit a generation; the job's id. `changes` are more fields of its spec."""
        spec = GenerateSpec(
            checkpoint=checkpoint,
            prompt=prompt,
            length=length,
            temperatures=list(temperatures),
            n=n,
            seed=seed,
            **{"top_k": None, "top_p": None, **changes},
        )
        with make_sessions(self.engine)() as session:
            corpus_id = session.get_one(Model, model_id).corpus_id
        plain = spec.model_dump(mode="json")
        return self._submit("generate", plain, model_id, corpus_id, wake, name, user, order)

    def _submit(
        self,
        kind: Kind,
        spec: Mapping[str, Any],
        model_id: str,
        corpus_id: str,
        wake: bool,
        name: str,
        user: str,
        order: Mapping[str, Any] | None,
    ) -> str:
        submission = Submission(
            kind, self.user(user), name, dict(spec), model_id, corpus_id, **(order or {})
        )
        with self.engine.begin() as connection:
            job_id = self.queue.submit(connection, submission)
        if wake:
            assert self.broker.wake(kind, job_id)
        return job_id

    def pause(self, job_id: str) -> str:
        """Pause, as the API does."""
        with self.engine.begin() as connection:
            return self.queue.pause(connection, job_id)

    def resume(self, job_id: str) -> None:
        """Resume and wake, as the API does."""
        with self.engine.begin() as connection:
            self.queue.resume(connection, job_id)
        assert self.broker.wake("train", job_id)

    def cancel(self, job_id: str) -> str:
        """Cancel, as the API does."""
        with self.engine.begin() as connection:
            return self.queue.cancel(connection, job_id)

    def reading(self) -> Session:
        """A session that takes no lock: looking must not disturb what is looked at."""
        return make_sessions(self.engine, read_only=True)()

    # -- what became of them ----------------------------------------------------------------------

    def job(self, job_id: str) -> Job:
        """The row as it is now."""
        with self.reading() as session:
            return session.get_one(Job, job_id)

    def ended(self, job_id: str, seconds: float = PATIENCE_SECONDS) -> Job:
        """The row once the job has ended."""

        def look() -> Job | None:
            job = self.job(job_id)
            return job if job.status in TERMINAL_STATUSES else None

        return until(look, f"the end of {self.job(job_id).kind} job {job_id}", seconds)

    def succeeded(self, job_id: str, seconds: float = PATIENCE_SECONDS) -> Job:
        """The row once the job has ended well."""
        job = self.ended(job_id, seconds)
        assert job.status == "succeeded", job.error
        return job

    def checkpoints(self, job_id: str) -> list[Checkpoint]:
        """Those of a training, the newest last."""
        with self.reading() as session:
            query = select(Checkpoint).where(Checkpoint.job_id == job_id)
            return list(session.scalars(query.order_by(Checkpoint.step)))

    def first_checkpoint(self, job_id: str) -> Checkpoint:
        """The first checkpoint of a training, waited for."""
        return until(lambda: self.checkpoints(job_id), "a checkpoint")[0]

    def texts(self, job_id: str) -> list[GeneratedText]:
        """Those of a job, in order."""
        with self.reading() as session:
            query = select(GeneratedText).where(GeneratedText.job_id == job_id)
            return list(session.scalars(query.order_by(GeneratedText.step, GeneratedText.position)))

    def points(self, job_id: str) -> list[Metric]:
        """The points of a training's loss curve, in the order of their steps."""
        with self.reading() as session:
            query = select(Metric).where(Metric.job_id == job_id)
            return list(session.scalars(query.order_by(Metric.step)))

    def events(self, job_id: str) -> list[str]:
        """The types of a job's events, in order."""
        with self.reading() as session:
            query = select(JobEvent.type).where(JobEvent.job_id == job_id).order_by(JobEvent.id)
            return list(session.scalars(query))

    def moments(self, job_id: str) -> list[tuple[str, datetime]]:
        """What happened to a job, and when."""
        with self.reading() as session:
            query = select(JobEvent.type, JobEvent.at).where(JobEvent.job_id == job_id)
            return [(kind, at) for kind, at in session.execute(query.order_by(JobEvent.id))]

    def event(self, job_id: str, kind: str) -> dict[str, Any]:
        """What the first event of a type says."""
        with self.reading() as session:
            query = select(JobEvent.data).where(JobEvent.job_id == job_id, JobEvent.type == kind)
            found: dict[str, Any] = session.scalars(query.order_by(JobEvent.id).limit(1)).one()
            return found

    def told(self, job_id: str, kind: str, attempt: int) -> list[dict[str, Any]]:
        """What all events of a type in one attempt say."""
        with make_sessions(self.engine)() as session:
            query = select(JobEvent.data).where(
                JobEvent.job_id == job_id, JobEvent.type == kind, JobEvent.attempt == attempt
            )
            return list(session.scalars(query.order_by(JobEvent.id)))

    def count(self, job_id: str, kind: str) -> int:
        """How often something happened to a job."""
        with self.reading() as session:
            query = select(func.count()).where(JobEvent.job_id == job_id, JobEvent.type == kind)
            return session.scalar(query) or 0


def make_world(database_url: str, redis_url: str, directory: Path, **variables: str) -> World:
    """A world on a migrated database; `variables` are more of its workers' environment."""
    environment = {
        **os.environ,
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "QUIRE_DATA_DIR": str(directory / "data"),
        "QUIRE_LEASE_SECONDS": "2",
        "QUIRE_HEARTBEAT_SECONDS": "0.5",
        "QUIRE_SWEEP_SECONDS": "0.5",
        "QUIRE_TRAIN_THREADS": str(THREADS),
        "QUIRE_LOG_FORMAT": "json",
        **variables,
    }
    engine = make_engine(database_url)
    settings = Settings(lease_seconds=2, heartbeat_seconds=0.5, sweep_seconds=0.5)
    return World(engine, Queue(engine, settings), Broker(redis_url), environment, directory)


def stop_process(pid: int) -> None:
    """Freeze a process (SIGSTOP)."""
    os.kill(pid, signal.SIGSTOP)


def continue_process(pid: int) -> None:
    """Let a frozen process go on (SIGCONT)."""
    os.kill(pid, signal.SIGCONT)
