"""Publishes the events of running jobs to the streams that `shared.job_events` reads."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import redis
import structlog

from shared.background_sender import BackgroundSender
from shared.job_events import EntryKind, stream_key
from shared.job_listeners import ListenerLookup

#: Entries kept per job. Approximate, since Redis drops whole blocks.
MAX_ENTRIES = 2_000
EXPIRE_SECONDS = 3600
#: Entries that wait while Redis is slow; the oldest is dropped first.
MAX_PENDING = 10_000
#: Entries in one round trip.
BATCH_SIZE = 200
#: How old the answer of `listened` may be: a listener's first piece should come within 100 ms.
LOOK_SECONDS = 0.025
#: How long an entry for listeners waits for others where nobody is known to listen: each look for
#: listeners, and each message, takes the worker as long as it takes to write some characters. Who
#: begins to listen meanwhile ends the wait (`note_listener`).
PATIENCE_SECONDS = 0.1
#: More listeners than this are not noted between two looks; an idle worker looks for none.
MAX_NOTED = 256

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Pending:
    """An entry that is not sent yet.

    Attributes:
        for_listeners: It is sent only if somebody listens to the job.
    """

    job_id: str
    attempt: int
    offset: int
    kind: EntryKind
    data: dict[str, Any]
    for_listeners: bool

    @property
    def fields(self) -> Any:
        """The entry's fields, as Redis stores them."""
        return {"kind": self.kind, "data": json.dumps(self.data, ensure_ascii=False)}


class EventPublisher(BackgroundSender[_Pending]):
    """Sends entries in a background thread.

    Args:
        url: A Redis address in either spelling.
    """

    lost_event = "events_not_published"

    def __init__(self, url: str) -> None:
        super().__init__(url, "event-publisher", MAX_PENDING, BATCH_SIZE)
        self._listeners = ListenerLookup(self._redis)
        self._listened: frozenset[str] = frozenset()
        #: Those that `note_listener` has told since the last look began.
        self._noted: frozenset[str] = frozenset()
        self._asked_at = 0.0
        self._offset = 0

    def publish(self, job_id: str, attempt: int, kind: EntryKind, **data: Any) -> None:
        """Queue an entry. It is lost if Redis cannot be reached.

        Args:
            job_id: The job whose stream it enters.
            attempt: The attempt that the caller holds, or that the job's row has.
            kind: What happened.
            data: The fields that `EntryKind` describes.
        """
        self._enqueue(job_id, attempt, kind, data, for_listeners=False)

    def publish_to_listeners(self, job_id: str, attempt: int, kind: EntryKind, **data: Any) -> None:
        """As `publish`, but only if somebody listens to the job at the time of sending.

        Call it after the commit of what the entry tells: a listener that comes later reads it
        from the rows.
        """
        self._enqueue(job_id, attempt, kind, data, for_listeners=True)

    def listened(self) -> frozenset[str]:
        """Return the jobs that somebody listened to some `LOOK_SECONDS` ago, without waiting."""
        if time.monotonic() - self._asked_at > LOOK_SECONDS:
            with self._not_empty:
                self._asked_at = time.monotonic()
                self._notify(ask=True)
        return self._listened

    def note_listener(self, job_id: str) -> None:
        """Send what waits for a job, since somebody begins to listen to it."""
        with self._not_empty:
            if len(self._noted) >= MAX_NOTED:
                return  # The next look finds it.
            self._noted |= {job_id}
            self._listened |= {job_id}
            if any(entry.job_id == job_id for entry in self._pending):
                self._notify()

    def _enqueue(
        self, job_id: str, attempt: int, kind: EntryKind, data: dict[str, Any], for_listeners: bool
    ) -> None:
        with self._not_empty:
            # Microseconds, so that a stream that Redis lost continues after its readers' position.
            self._offset = max(self._offset + 1, time.time_ns() // 1000)
            self._pending.append(_Pending(job_id, attempt, self._offset, kind, data, for_listeners))
            is_patient = for_listeners and job_id not in self._listened
            self._notify(within=PATIENCE_SECONDS if is_patient else 0.0)

    def _send(self, batch: Sequence[_Pending], asked: bool) -> None:
        if asked or any(entry.for_listeners for entry in batch):
            self._look()
        self._add(
            [entry for entry in batch if not entry.for_listeners or entry.job_id in self._listened]
        )

    def _look(self) -> None:
        with self._not_empty:
            self._noted = frozenset()
        found = self._listeners.look()
        with self._not_empty:
            # Who has come meanwhile may be missing in what was found.
            self._listened = found | self._noted

    def _on_unreachable(self) -> None:
        self._listened = frozenset()

    def _add(self, batch: Sequence[_Pending]) -> None:
        if not batch:
            return
        pipe = self._redis.pipeline(transaction=False)
        for entry in batch:
            entry_id = f"{entry.attempt}-{entry.offset}"
            pipe.xadd(stream_key(entry.job_id), entry.fields, id=entry_id, maxlen=MAX_ENTRIES)
        for job_id in dict.fromkeys(entry.job_id for entry in batch):
            pipe.expire(stream_key(job_id), EXPIRE_SECONDS)
        answers = pipe.execute(raise_on_error=False)
        for entry, answer in zip(batch, answers, strict=False):
            if isinstance(answer, redis.ResponseError):
                self._append(entry, answer)
            elif isinstance(answer, Exception):
                raise answer

    def _append(self, entry: _Pending, error: redis.ResponseError) -> None:
        """Send a rejected entry again, with the next free id of the same attempt.

        The clocks of two hosts differ, so an id can be too small. An entry of an older attempt is
        rejected again, as it must be.
        """
        try:
            self._redis.xadd(
                stream_key(entry.job_id), entry.fields, id=f"{entry.attempt}-*", maxlen=MAX_ENTRIES
            )
        except redis.ResponseError:
            log.info(
                "event_too_late",
                job=entry.job_id,
                attempt=entry.attempt,
                kind=entry.kind,
                reason=str(error),
            )
