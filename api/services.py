"""What the handlers of one process share."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from flask import current_app
from sqlalchemy import Engine
from sqlalchemy.orm import Session, sessionmaker

from api.http.concurrency import Seats
from shared.broker import Broker
from shared.database import make_sessions
from shared.job_events import EventPublisher, EventReader
from shared.queue import Queue
from shared.scheduling.forecast_queries import ForecastCache
from shared.settings import Settings

EXTENSION = "quire"
#: How long a listener waits for what a job says before it looks at the job's row.
LOOK_SECONDS = 5.0


@dataclass(frozen=True)
class Services:
    """The parts that requests are answered with.

    Attributes:
        lines: The lines that jobs wait in.
        listener: Reads what jobs say.
        speaker: Says what the API itself does to a job.
        seats: Where those sit who listen.
        wait_slots: How many requests may hold a thread while they wait for texts.
        stopping: Set when the process is to end: whoever waits stops waiting.
    """

    settings: Settings
    engine: Engine
    broker: Broker
    queue: Queue
    forecasts: ForecastCache
    listener: EventReader
    speaker: EventPublisher
    seats: Seats
    read_sessions: sessionmaker[Session]
    write_sessions: sessionmaker[Session]
    wait_slots: threading.Semaphore
    stopping: threading.Event = field(default_factory=threading.Event)

    @classmethod
    def of(cls, settings: Settings, engine: Engine, broker: Broker) -> "Services":
        """The services of one process."""
        return cls(
            settings=settings,
            engine=engine,
            broker=broker,
            queue=Queue(engine, settings),
            forecasts=ForecastCache(settings),
            listener=EventReader(
                settings.broker, settings.max_listeners + settings.wait_slots, LOOK_SECONDS
            ),
            speaker=EventPublisher(settings.broker),
            seats=Seats(settings.max_listeners),
            read_sessions=make_sessions(engine, read_only=True),
            write_sessions=make_sessions(engine),
            wait_slots=threading.Semaphore(settings.wait_slots),
        )


def services() -> Services:
    """Those of the application that answers this request."""
    found: Services = current_app.extensions[EXTENSION]
    return found


@contextmanager
def reading() -> Iterator[Session]:
    """A session that reads, in one short transaction; it never takes SQLite's write lock."""
    with services().read_sessions() as session:
        yield session


@contextmanager
def writing() -> Iterator[Session]:
    """A session that writes: committed at the block's end, rolled back by an exception."""
    with services().write_sessions.begin() as session:
        yield session
