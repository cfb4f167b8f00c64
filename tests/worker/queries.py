"""Reads jobs and workers from the database, and waits for them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from shared.database import make_sessions
from shared.tables import (
    TERMINAL_STATUSES,
    Checkpoint,
    Device,
    GeneratedText,
    Job,
    JobEvent,
    Kind,
    Metric,
)
from shared.worker_registry import worker_id
from tests.services.waiting import PATIENCE_SECONDS, until


@dataclass
class JobQueries:
    """Reads rows, and waits for changes."""

    engine: Engine

    def reading(self) -> Session:
        """A session that takes no lock, so that a query does not disturb the workers."""
        return make_sessions(self.engine, read_only=True)()

    def devices(self, host: str = "here") -> list[Device]:
        """The rows of a host's workers."""
        with self.reading() as session:
            query = select(Device).where(Device.host == host).order_by(Device.id)
            return list(session.scalars(query))

    def child_pid(self, lane: Kind, device: str = "cpu", host: str = "here", slot: int = 0) -> int:
        """The id of the process that runs a lane's jobs."""
        with self.reading() as session:
            row = session.get_one(Device, worker_id(host, device, lane, slot))
            return row.pid

    def job(self, job_id: str) -> Job:
        """A job's current row."""
        with self.reading() as session:
            return session.get_one(Job, job_id)

    def wait_until_ended(self, job_id: str, seconds: float = PATIENCE_SECONDS) -> Job:
        """Wait until a job has ended. Returns its row."""

        def look() -> Job | None:
            job = self.job(job_id)
            return job if job.status in TERMINAL_STATUSES else None

        return until(look, f"the end of {self.job(job_id).kind} job {job_id}", seconds)

    def wait_until_succeeded(self, job_id: str, seconds: float = PATIENCE_SECONDS) -> Job:
        """Wait until a job has succeeded. Returns its row."""
        job = self.wait_until_ended(job_id, seconds)
        assert job.status == "succeeded", job.error
        return job

    def checkpoints(self, job_id: str) -> list[Checkpoint]:
        """A training's checkpoints, oldest first."""
        with self.reading() as session:
            query = select(Checkpoint).where(Checkpoint.job_id == job_id)
            return list(session.scalars(query.order_by(Checkpoint.step)))

    def first_checkpoint(self, job_id: str) -> Checkpoint:
        """Wait for a training's first checkpoint."""
        return until(lambda: self.checkpoints(job_id), "a checkpoint")[0]

    def texts(self, job_id: str) -> list[GeneratedText]:
        """A job's texts, by step and position."""
        with self.reading() as session:
            query = select(GeneratedText).where(GeneratedText.job_id == job_id)
            return list(session.scalars(query.order_by(GeneratedText.step, GeneratedText.position)))

    def curve(self, job_id: str) -> list[Metric]:
        """The points of a training's loss curve, by step."""
        with self.reading() as session:
            query = select(Metric).where(Metric.job_id == job_id)
            return list(session.scalars(query.order_by(Metric.step)))

    def events(self, job_id: str) -> list[str]:
        """The types of a job's events, oldest first."""
        with self.reading() as session:
            query = select(JobEvent.type).where(JobEvent.job_id == job_id).order_by(JobEvent.id)
            return list(session.scalars(query))

    def timeline(self, job_id: str) -> list[tuple[str, datetime]]:
        """The types and times of a job's events, oldest first."""
        with self.reading() as session:
            query = select(JobEvent.type, JobEvent.at).where(JobEvent.job_id == job_id)
            return [(kind, at) for kind, at in session.execute(query.order_by(JobEvent.id))]

    def wait_seconds(self, job_id: str) -> float:
        """Seconds from a job's submission to its first claim."""
        times = dict(reversed(self.timeline(job_id)))
        return (times["claimed"] - times["submitted"]).total_seconds()

    def event(self, job_id: str, kind: str) -> dict[str, Any]:
        """The data of a job's first event of a type."""
        with self.reading() as session:
            query = select(JobEvent.data).where(JobEvent.job_id == job_id, JobEvent.type == kind)
            found: dict[str, Any] = session.scalars(query.order_by(JobEvent.id).limit(1)).one()
            return found

    def events_of_attempt(self, job_id: str, kind: str, attempt: int) -> list[dict[str, Any]]:
        """The data of all events of a type in one attempt."""
        with make_sessions(self.engine)() as session:
            query = select(JobEvent.data).where(
                JobEvent.job_id == job_id, JobEvent.type == kind, JobEvent.attempt == attempt
            )
            return list(session.scalars(query.order_by(JobEvent.id)))

    def count(self, job_id: str, kind: str) -> int:
        """How many events of a type a job has."""
        with self.reading() as session:
            query = select(func.count()).where(JobEvent.job_id == job_id, JobEvent.type == kind)
            return session.scalar(query) or 0
