"""Quire's generations as a plain service: Flask, SQLAlchemy, and a Celery task for each text.

As a competent user would write it: a row for each job, committed before its task is sent and again
with its text, and the request waits for the task's result. The tasks are those of
`benchmarks.peers.plain_celery`, on a worker for each core. There are no users, keys, limits, queues
by share or retries in it.

    REDIS_URL=… PLAIN_SERVICE_DATABASE=… gunicorn -k gthread -w 1 --threads 72 \
        benchmarks.peers.plain_service:app
"""

import os
import sys
import uuid
from datetime import UTC, datetime
from typing import Any

from flask import Flask, Response, abort, jsonify, request
from sqlalchemy import DateTime, Engine, String, Text, create_engine, event, make_url
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from benchmarks.peers import plain_celery

DATABASE = "PLAIN_SERVICE_DATABASE"
THREADS = 72
TEXT_SECONDS = 30
BUSY_SECONDS = 30


class Base(DeclarativeBase):
    """The base of the one table."""


class Job(Base):
    """A text, requested and written."""

    __tablename__ = "jobs"
    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    status: Mapped[str] = mapped_column(String(10))
    prompt: Mapped[str] = mapped_column(Text)
    text: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    finished_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


def create_app(database_url: str, redis_url: str) -> Flask:
    """Create the service on an empty database."""
    app = Flask("plain_service")
    celery = plain_celery.make_app(redis_url)
    engine = _make_engine(database_url)
    Base.metadata.create_all(engine)

    @app.post("/generate")
    def generate() -> Response:
        body = request.get_json()
        job_id = str(uuid.uuid4())
        with Session(engine) as session:
            job = Job(
                id=job_id, status="queued", prompt=body["prompt"], created_at=datetime.now(UTC)
            )
            session.add(job)
            session.commit()
        arguments = (body["checkpoint"], body["prompt"], body["length"], [0.5], 1)
        task = celery.send_task("plain.generate", arguments, task_id=job_id, queue="generate")
        [text] = task.get(timeout=TEXT_SECONDS)
        with Session(engine) as session:
            job = session.get_one(Job, job_id)
            job.status, job.text, job.finished_at = "succeeded", text, datetime.now(UTC)
            session.commit()
        return jsonify(id=job_id, status="succeeded", text=text)

    @app.get("/jobs/<job_id>")
    def read(job_id: str) -> Response:
        with Session(engine) as session:
            job = session.get(Job, job_id)
            if job is None:
                abort(404)
            return jsonify(id=job.id, status=job.status, text=job.text)

    return app


def _make_engine(database_url: str) -> Engine:
    url = make_url(database_url)
    if url.get_backend_name() == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
        return create_engine(url, pool_size=THREADS, max_overflow=8)
    engine = create_engine(
        url,
        pool_size=THREADS,
        max_overflow=8,
        connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: object) -> None:
        # As durable as Quire: a committed job survives a power cut.
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")

    return engine


def command(port: int) -> tuple[str, ...]:
    """Return the command line of its server."""
    server = (sys.executable, "-m", "gunicorn", "-k", "gthread", "-w", "1")
    options = ("--threads", str(THREADS), "-b", f"127.0.0.1:{port}", "--log-level", "error")
    return (*server, *options, "--no-control-socket", "benchmarks.peers.plain_service:app")


app = create_app(os.environ[DATABASE], os.environ["REDIS_URL"]) if DATABASE in os.environ else None
