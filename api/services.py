"""The services that the request handlers of one process share."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from flask import current_app
from sqlalchemy import Engine, event
from sqlalchemy.orm import Session, sessionmaker

from api.byte_budget import ByteBudget
from api.front import FairSlots, Seats
from api.group_commit import GroupCommit
from api.known_keys import KnownKeys
from api.token_buckets import TokenBuckets
from api.traces import HttpFigures, KeyUses, Refusals
from shared.broker import Broker
from shared.database import make_sessions
from shared.event_publisher import EventPublisher
from shared.job_ends import EndWaiter, JobEndListener, JobEndPublisher
from shared.job_events import EventReader
from shared.job_traces import JobTraces, job_traces
from shared.queue import Queue
from shared.scheduling.forecast_queries import ForecastCache
from shared.settings import Settings

EXTENSION = "quire"
#: How long an event stream blocks on Redis before it checks the job's row, and for its client.
BLOCK_SECONDS = 5.0


@dataclass(frozen=True)
class Services:
    """The shared services of one process.

    Attributes:
        forecasts: Forecasts of the queue, cached for a moment.
        event_reader: Reads the events of jobs.
        event_publisher: Publishes what the API itself does to a job.
        job_ends: Hands the ends of runs to the requests that wait for them.
        end_publisher: Publishes the ends of jobs that the API itself ends.
        text_submissions: Groups the generations that are submitted at the same time.
        request_slots: Bounds the requests that are processed at once, and their connections.
        event_stream_seats: Bounds the open event streams.
        wait_seats: Bounds the requests that hold a thread while they wait for a job.
        download_seats: Bounds the files that are sent at once.
        upload_memory: Bounds the memory of the uploads that are worked on.
        requests: Bounds the requests of each user.
        creations: Bounds those that create something.
        known_keys: Whose keys were valid a moment ago.
        key_uses: Notes when keys are used.
        refusals: Counts refused requests and sign-ins.
        http_figures: Counts requests and open streams, for `/metrics`.
        traces: Records the spans of requests that submit jobs; None if nobody asks for them.
        stopping: Set when the process shuts down, so that waiting requests return.
    """

    settings: Settings
    engine: Engine
    broker: Broker
    queue: Queue
    forecasts: ForecastCache
    event_reader: EventReader
    event_publisher: EventPublisher
    job_ends: JobEndListener
    end_publisher: JobEndPublisher
    text_submissions: GroupCommit[Any]
    request_slots: FairSlots
    event_stream_seats: Seats
    wait_seats: Seats
    download_seats: Seats
    read_sessions: sessionmaker[Session]
    write_sessions: sessionmaker[Session]
    upload_memory: ByteBudget
    requests: TokenBuckets
    creations: TokenBuckets
    known_keys: KnownKeys[Any]
    key_uses: KeyUses
    refusals: Refusals
    http_figures: HttpFigures
    traces: JobTraces | None
    stopping: threading.Event = field(default_factory=threading.Event)

    @classmethod
    def create(
        cls,
        settings: Settings,
        engine: Engine,
        broker: Broker,
        look: Callable[[Engine, Sequence[EndWaiter]], object],
    ) -> "Services":
        """Create the services of one process. Several processes divide the seats.

        Args:
            settings: The settings.
            engine: The database.
            broker: Sends wakes.
            look: Reads what requests need whose jobs have ended.
        """

        def seats(count: int) -> Seats:
            return Seats(-(-count // settings.api_processes))

        write_sessions = make_sessions(engine)
        key_uses, refusals = KeyUses(engine), Refusals(write_sessions)
        streams = seats(settings.max_listeners)
        http_figures = HttpFigures(engine, settings.broker, lambda: streams.occupied)

        def cancel(_engine: Engine) -> None:
            key_uses.cancel()
            refusals.cancel()
            http_figures.cancel()

        # Or they would open connections that nobody closes.
        event.listen(engine, "engine_disposed", cancel)
        return cls(
            settings=settings,
            engine=engine,
            broker=broker,
            queue=Queue(engine, settings),
            forecasts=ForecastCache(settings),
            event_reader=EventReader(settings.broker, settings.max_listeners, BLOCK_SECONDS),
            event_publisher=EventPublisher(settings.broker),
            job_ends=JobEndListener(settings.broker, partial(look, engine)),
            end_publisher=JobEndPublisher(settings.broker),
            text_submissions=GroupCommit(),
            request_slots=FairSlots(settings.api_threads),
            event_stream_seats=streams,
            wait_seats=seats(settings.wait_slots),
            download_seats=seats(settings.download_slots),
            read_sessions=make_sessions(engine, read_only=True),
            write_sessions=write_sessions,
            upload_memory=ByteBudget(settings.upload_memory_bytes),
            requests=TokenBuckets("requests", settings.requests_per_minute),
            creations=TokenBuckets("creations", settings.creations_per_minute),
            known_keys=KnownKeys(),
            key_uses=key_uses,
            refusals=refusals,
            http_figures=http_figures,
            traces=job_traces(settings, "quire-api"),
        )

    def close(self) -> None:
        """Write and send what is still in memory, and close all connections."""
        self.key_uses.close()
        self.refusals.close()
        self.broker.close()
        self.event_publisher.close()
        self.end_publisher.close()
        self.job_ends.close()
        self.event_reader.close()
        self.http_figures.close()
        if self.traces is not None:
            self.traces.close()
        self.engine.dispose()


def services() -> Services:
    """Return the services of the application that handles this request."""
    found: Services = current_app.extensions[EXTENSION]
    return found


@contextmanager
def reading() -> Iterator[Session]:
    """Open a session for one short read transaction. It never takes SQLite's write lock."""
    with services().read_sessions() as session:
        yield session


@contextmanager
def writing() -> Iterator[Session]:
    """Open a session that commits at the end of the block and rolls back on an exception."""
    with services().write_sessions.begin() as session:
        yield session
