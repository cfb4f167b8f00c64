"""Follow one job: what of its rows and of its events in Redis a client was not told yet."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import redis
import structlog
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from api.errors import Unauthenticated
from api.operations.following.job_views import JobView, OwnView
from api.operations.following.sent_pieces import SentPieces
from api.services import BLOCK_SECONDS, Services
from shared import job_events
from shared.job_listeners import ANNOUNCE_SECONDS
from shared.tables import TERMINAL_STATUSES, GeneratedText, Job

__all__ = ["BLOCK_SECONDS", "JobFollower", "StreamEvent", "has_received_end"]

#: How often the row is checked while Redis delivers the job's events.
SLOW_CHECK_SECONDS = 15.0
#: The most texts of a training that are sent; ``/v1/jobs/{id}/texts`` has the earlier ones.
MAX_TEXTS = 200
#: Marks event ids that come from the rows of an ended job: ``attempt-end1`` is the first text, and
#: ``attempt-end`` the final state, after which nothing follows.
END = "end"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """An event for a client.

    Attributes:
        kind: ``state``, ``piece``, ``metrics``, ``text`` or ``closed``.
        data: What the client is told.
        id: Resumes after this event; None where the stream can't be resumed.
    """

    kind: str
    data: dict[str, Any]
    id: str | None = None


class JobFollower:
    """What one client is told of one job.

    Args:
        services: The services of the application.
        job_id: The job, which the client may see.
        last_id: The id of the last event that the client received; None for a new client.
        sender: Whose stream it is: senders take turns at the database.
        view: What the client may see of the job; by default what its owner may.
        announced_at: For a new job, when this listener was announced (monotonic), before the job
            was committed: then nothing can have been missed, and there is nothing to replay. The
            client is not told that the job is queued, and that it begins.

    Attributes:
        ended: Nothing follows.
        refusal: Why the client may not follow any more: its key or session has ended.
    """

    def __init__(
        self,
        services: Services,
        job_id: str,
        last_id: str | None,
        sender: str = "",
        view: JobView | None = None,
        announced_at: float | None = None,
    ) -> None:
        self.job_id = job_id
        self._view = view or OwnView()
        self.last_id = last_id
        self.ended = False
        self.refusal: Unauthenticated | None = None
        self._sender = sender
        self._services = services
        self._texts_received = _texts_received(last_id)
        self._cursor = None if last_id is None or END in last_id else last_id
        self._state: tuple[Any, ...] | None = None
        self._is_new = announced_at is not None
        self._announced_at = announced_at or 0.0
        self._checked_at = self._announced_at
        #: When it was last asked whether Redis still has the job's events.
        self._looked_at = 0.0
        self._pieces = SentPieces()

    @property
    def position(self) -> str:
        """The id after which Redis is read."""
        return self._cursor or job_events.BEGINNING

    def replay(self) -> Iterator[StreamEvent]:
        """Yield what exists already, or what followed `last_id`."""
        if self._is_new:
            return
        # Announce the listener and read the events before the rows: an event in between is then
        # sent twice at most and never missed, because a row is committed before its event is
        # published, and before its worker looks for listeners.
        entries: list[job_events.Entry] = []
        with suppress(redis.RedisError):
            self._announce()
            entries = self._services.event_reader.read_all(self.job_id)
        ids = [entry.id for entry in entries]
        if self._cursor in ids:
            next_index = ids.index(self._cursor) + 1
            for entry in entries[:next_index]:
                if entry.kind == "piece":
                    self._pieces.new_part(entry)
            yield from self._entries(entries[next_index:])
            if not self.ended:
                yield from self._check_row()
            return
        yield from self._check_row(with_texts=True)
        if not self.ended:
            # The rows have covered the other kinds.
            yield from self._entries([e for e in entries if e.kind in ("piece", "metrics")])
        self._cursor = ids[-1] if ids else job_events.BEGINNING

    def announce_if_due(self) -> None:
        """Let the job's worker know again that somebody listens.

        Raises:
            redis.RedisError: The server could not be reached.
        """
        if time.monotonic() - self._announced_at >= ANNOUNCE_SECONDS:
            self._announce()

    def _announce(self) -> None:
        """Let the job's worker know that somebody listens; it publishes little for nobody."""
        self._services.event_reader.announce(self.job_id)
        self._announced_at = time.monotonic()

    def advance(self, entries: Sequence[job_events.Entry] | None) -> Iterator[StreamEvent]:
        """Yield what the entries after `position` tell, and what the row tells if it is due.

        Args:
            entries: What Redis has; None if it is unavailable.
        """
        yield from self._entries(entries or ())
        if entries:
            # The key is looked at again, however many entries come.
            check_interval = SLOW_CHECK_SECONDS
        elif entries is None:
            check_interval = BLOCK_SECONDS
        else:
            check_interval = self._interval_while_quiet()
        if not self.ended and time.monotonic() - self._checked_at >= check_interval:
            yield from self._check_row()

    def _interval_while_quiet(self) -> float:
        """Look whether Redis still has the job's events; return how often to check the row."""
        if time.monotonic() - self._looked_at < BLOCK_SECONDS:
            return SLOW_CHECK_SECONDS  # only the stream's other jobs have news
        self._looked_at = time.monotonic()
        try:
            last = self._services.event_reader.last_id(self.job_id)
            if job_events.sort_key(last) < job_events.sort_key(self.position):
                # Redis has lost the events, and new ones may have lower ids than the cursor.
                self._cursor = job_events.BEGINNING
                self._announce()
                return 0.0
        except redis.RedisError:
            return BLOCK_SECONDS
        return 0.0 if last == job_events.BEGINNING else SLOW_CHECK_SECONDS

    def _entries(self, entries: Sequence[job_events.Entry]) -> Iterator[StreamEvent]:
        for entry in entries:
            yield from self._entry(entry)
            if self.ended:
                return

    def _entry(self, entry: job_events.Entry) -> Iterator[StreamEvent]:
        self._cursor = entry.id
        if entry.kind == "piece":
            piece = self._pieces.new_part(entry)
            if piece is not None:
                yield StreamEvent("piece", piece, entry.id)
        elif entry.kind == "metrics":
            yield StreamEvent("metrics", entry.data, entry.id)
        elif entry.kind == "texts":
            yield from self._sampled_texts(entry)
        elif entry.kind == "state" and not (self._is_new and entry.data.get("begins")):
            yield from self._check_row(entry.id)

    def _sampled_texts(self, entry: job_events.Entry) -> Iterator[StreamEvent]:
        with self._reading() as session:
            texts = session.scalars(
                select(GeneratedText)
                .where(GeneratedText.job_id == self.job_id)
                .where(GeneratedText.step == entry.data["step"])
                .order_by(GeneratedText.position)
            ).all()
            replies = [each.model_dump(mode="json") for each in self._view.texts(session, texts)]
        for i, reply in enumerate(replies):
            # Only the last text has the id: a client that leaves in between gets all of them again.
            yield StreamEvent("text", reply, entry.id if i == len(replies) - 1 else None)

    def _check_row(
        self, entry_id: str | None = None, *, with_texts: bool = False
    ) -> Iterator[StreamEvent]:
        """Send the job's state if it changed; `with_texts` also sends its texts so far."""
        self._checked_at = time.monotonic()
        try:
            with self._reading() as session:
                job = session.get(Job, self.job_id)
                self._view.check(session)
                if job is None:
                    self.ended = True
                    return
                ended = job.status in TERMINAL_STATUSES
                shown = self._view.job(session, job)
                reply = shown.model_dump(mode="json", exclude_unset=True)
                texts: list[dict[str, Any]] = []
                if ended or with_texts:
                    texts = self._texts(session, requested=job.kind == "generate")
        except Unauthenticated as error:
            self.ended, self.refusal = True, error
            yield StreamEvent("closed", {"reason": error.detail})
            return
        except DBAPIError as error:
            log.warning("job_not_read", job=self.job_id, reason=str(error.orig))
            return
        reply.pop("texts", None)
        self._pieces.note_attempt(job.attempt)
        if ended:
            self.ended = True
            if job.kind == "train" and not with_texts:
                texts = []
            yield from self._final_events(job.attempt, reply, texts)
            return
        requests = (job.cancel_requested_at, job.pause_requested_at)
        position = (reply.get("queue") or {}).get("position")
        state = (job.status, job.attempt, *requests, position)
        if state != self._state:
            self._state = state
            yield StreamEvent("state", reply, entry_id)
        for text in texts:
            yield StreamEvent("text", text)

    def _final_events(
        self, attempt: int, reply: dict[str, Any], texts: Sequence[dict[str, Any]]
    ) -> Iterator[StreamEvent]:
        for number, text in enumerate(texts, 1):
            if number > self._texts_received:
                yield StreamEvent("text", text, f"{attempt}-{END}{number}")
        yield StreamEvent("state", reply, f"{attempt}-{END}")

    def _texts(self, session: Session, *, requested: bool) -> list[dict[str, Any]]:
        of_job = select(GeneratedText).where(GeneratedText.job_id == self.job_id)
        if requested:
            rows = session.scalars(of_job.order_by(GeneratedText.position)).all()
        else:
            newest = of_job.order_by(GeneratedText.step.desc(), GeneratedText.position.desc())
            rows = list(session.scalars(newest.limit(MAX_TEXTS)))[::-1]
        return [each.model_dump(mode="json") for each in self._view.texts(session, rows)]

    @contextmanager
    def _reading(self) -> Iterator[Session]:
        # Hundreds of streams that begin at once must not be faster than others' requests.
        slots = self._services.request_slots
        with slots.held(self._sender), self._services.read_sessions() as session:
            yield session


def has_received_end(job: Job, last_id: str | None) -> bool:
    """Return whether a client has received the last event of a job and need not reconnect.

    Args:
        job: The job's row.
        last_id: The id of the last event that the client received.
    """
    return job.status in TERMINAL_STATUSES and (last_id or "").endswith(f"-{END}")


def _texts_received(last_id: str | None) -> int:
    """Return how many texts of an ended job a client has received."""
    _, _, rest = (last_id or "").partition(f"-{END}")
    return int(rest or 0)
