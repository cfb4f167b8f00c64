"""What became of jobs and workers, as the database has it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from shared.database import make_sessions
from shared.queue.types import Kind
from shared.tables import (
    TERMINAL_STATUSES,
    Checkpoint,
    Device,
    GeneratedText,
    Job,
    JobEvent,
    Metric,
)
from tests.services.waiting import PATIENCE_SECONDS, until


@dataclass
class Seeing:
    """Looks at rows, and waits for them."""

    engine: Engine

    def reading(self) -> Session:
        """A session that takes no lock: looking must not disturb what is looked at."""
        return make_sessions(self.engine, read_only=True)()

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

    def waited(self, job_id: str) -> float:
        """Seconds from a job's submission to its first claim."""
        moments = dict(reversed(self.moments(job_id)))
        return (moments["claimed"] - moments["submitted"]).total_seconds()

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
