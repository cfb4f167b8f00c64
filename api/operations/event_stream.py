"""What follows a job as Server-Sent Events: first its rows, then what it says, then its end.

The rows are the truth and the stream is a hint (shared/job_events.py): where Redis is away, or has lost
the stream, states and finished texts come from the rows all the same, a little later.
"""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import redis
import structlog
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from api.serializers import job_reply, text_reply
from api.services import LOOK_SECONDS, Services
from shared import job_events
from shared.tables import TERMINAL_STATUSES, GeneratedText, Job

#: Something is written as often: who has gone is noticed by it, and proxies keep the connection.
HEARTBEAT_SECONDS = 15.0
#: How long a browser waits before it comes back.
RETRY_MILLISECONDS = 2000
#: While a job's stream answers, its row is looked at more seldom than where it may be lost.
SELDOM_SECONDS = 15.0
#: Of a training that has written more, the first ones are at ``/v1/jobs/{id}/texts``.
MOST_TEXTS = 200
#: Ids of what comes from the rows of a job that has ended: ``attempt-end1`` is the first text, and
#: ``attempt-end`` the last state, behind which nothing comes.
END = "end"

log = structlog.get_logger(__name__)


class JobEventStream:
    """One listener of one job.

    Args:
        shared: Of the application.
        job_id: The job; the listener may see it.
        last_id: The id of the last event that the listener has had; None for a new one.
    """

    def __init__(self, shared: Services, job_id: str, last_id: str | None) -> None:
        self._shared = shared
        self._job_id = job_id
        self._texts_told = _texts_told(last_id)
        self._cursor = None if last_id is None or END in last_id else last_id
        self._state: tuple[Any, ...] | None = None
        self._looked_at = 0.0
        #: The greatest that is known of.
        self._attempt = 0
        #: How much of each text was told, in characters.
        self._sent: dict[int, int] = {}
        self._ended = False
        self._wrote_at = time.monotonic()

    def events(self) -> Iterator[str]:
        """What is to be written, until the job has ended, the server stops, or nobody listens."""
        yield f"retry: {RETRY_MILLISECONDS}\n\n"
        yield from self._written(self._begin())
        while not self._ended and not self._shared.stopping.is_set():
            yield from self._written(self._go_on())
            if time.monotonic() - self._wrote_at >= HEARTBEAT_SECONDS:
                yield from self._written([": still there\n\n"])

    def _written(self, events: Iterator[str] | Sequence[str]) -> Iterator[str]:
        for event in events:
            self._wrote_at = time.monotonic()
            yield event

    def _begin(self) -> Iterator[str]:
        # Before the rows: what is said between the two is then told twice at most, and never
        # missed. A row is committed before the stream speaks of it.
        entries: list[job_events.Entry] = []
        with suppress(redis.RedisError):
            entries = self._shared.listener.all(self._job_id)
        ids = [entry.id for entry in entries]
        if self._cursor in ids:
            behind = ids.index(self._cursor) + 1
            for entry in entries[:behind]:
                if entry.kind == "piece":
                    self._take(entry)
            yield from self._entries(entries[behind:])
            if not self._ended:
                yield from self._look()
            return
        yield from self._look(whole=True)
        if not self._ended:
            # Of the other kinds the rows have told.
            yield from self._entries([e for e in entries if e.kind in ("piece", "metrics")])
        self._cursor = ids[-1] if ids else job_events.BEGINNING

    def _go_on(self) -> Iterator[str]:
        after = self._cursor or job_events.BEGINNING
        pause = 0.0
        try:
            entries = self._shared.listener.read(self._job_id, after, LOOK_SECONDS)
            last = entries[-1].id if entries else self._shared.listener.last(self._job_id)
            if job_events.order(last) < job_events.order(after):
                # Redis has lost the stream, and it may begin anew behind us.
                self._cursor = job_events.BEGINNING
            elif last != job_events.BEGINNING:
                pause = SELDOM_SECONDS
        except redis.RedisError:
            entries, pause = [], LOOK_SECONDS
            self._shared.stopping.wait(1.0)
        yield from self._entries(entries)
        if not entries and time.monotonic() - self._looked_at >= pause:
            yield from self._look()

    def _entries(self, entries: Sequence[job_events.Entry]) -> Iterator[str]:
        for entry in entries:
            yield from self._entry(entry)
            if self._ended:
                return

    def _entry(self, entry: job_events.Entry) -> Iterator[str]:
        self._cursor = entry.id
        if entry.kind == "piece":
            piece = self._take(entry)
            if piece is not None:
                yield _event("piece", piece, entry.id)
        elif entry.kind == "metrics":
            yield _event("metrics", entry.data, entry.id)
        elif entry.kind == "texts":
            yield from self._texts_of(entry)
        else:
            yield from self._look(entry.id)

    def _take(self, entry: job_events.Entry) -> dict[str, Any] | None:
        """What a piece has beyond what was told, from now on told too; None where it has nothing.

        A new attempt writes a text again. An older one may be the first to speak in a stream that
        Redis lost; only its pieces have to be kept out, since nobody else speaks before a write
        that the attempt fences.
        """
        attempt, _ = job_events.order(entry.id)
        if attempt < self._attempt:
            return None
        self._attempt = attempt
        position, offset, text = (entry.data[name] for name in ("position", "offset", "text"))
        prompt = {"prompt": entry.data["prompt"]} if "prompt" in entry.data else {}
        told = self._sent.get(position, 0)
        if offset + len(text) <= told:
            return None
        if offset < told:
            text, offset, prompt = text[told - offset :], told, {}
        self._sent[position] = offset + len(text)
        return {"index": position, "offset": offset, "text": text} | prompt

    def _texts_of(self, entry: job_events.Entry) -> Iterator[str]:
        with self._reading() as session:
            texts = session.scalars(
                select(GeneratedText)
                .where(GeneratedText.job_id == self._job_id)
                .where(GeneratedText.step == entry.data["step"])
                .order_by(GeneratedText.position)
            ).all()
            replies = [text_reply(text).model_dump(mode="json") for text in texts]
        for i, reply in enumerate(replies):
            # Whoever leaves among them is told all of them again.
            yield _event("text", reply, entry.id if i == len(replies) - 1 else None)

    def _look(self, entry_id: str | None = None, *, whole: bool = False) -> Iterator[str]:
        """Tell what the row says, where that is new; `whole`: with all that came before."""
        self._looked_at = time.monotonic()
        try:
            with self._reading() as session:
                job = session.get(Job, self._job_id)
                if job is None:
                    self._ended = True
                    return
                ended = job.status in TERMINAL_STATUSES
                reply = job_reply(session, job).model_dump(mode="json", exclude_unset=True)
                texts: list[dict[str, Any]] = []
                if ended or whole:
                    texts = self._texts(session, requested=job.kind == "generate")
        except DBAPIError as error:
            log.warning("not_looked", job=self._job_id, reason=str(error.orig))
            return
        reply.pop("texts", None)
        self._attempt = max(self._attempt, job.attempt)
        if ended:
            self._ended = True
            if job.kind == "train" and not whole:
                texts = []
            yield from self._end(job.attempt, reply, texts)
            return
        asked = (job.cancel_requested_at, job.pause_requested_at)
        place = (reply.get("queue") or {}).get("position")
        state = (job.status, job.attempt, *asked, place)
        if state != self._state:
            self._state = state
            yield _event("state", reply, entry_id)
        for text in texts:
            yield _event("text", text)

    def _end(
        self, attempt: int, reply: dict[str, Any], texts: Sequence[dict[str, Any]]
    ) -> Iterator[str]:
        for number, text in enumerate(texts, 1):
            if number > self._texts_told:
                yield _event("text", text, f"{attempt}-{END}{number}")
        yield _event("state", reply, f"{attempt}-{END}")

    def _texts(self, session: Session, *, requested: bool) -> list[dict[str, Any]]:
        of_job = select(GeneratedText).where(GeneratedText.job_id == self._job_id)
        if requested:
            rows = session.scalars(of_job.order_by(GeneratedText.position)).all()
        else:
            newest = of_job.order_by(GeneratedText.step.desc(), GeneratedText.position.desc())
            rows = list(session.scalars(newest.limit(MOST_TEXTS)))[::-1]
        return [text_reply(row).model_dump(mode="json") for row in rows]

    def _reading(self) -> Session:
        return self._shared.read_sessions()


def has_received_end(job: Job, last_id: str | None) -> bool:
    """Whether a listener has had the end of a job: then there is nothing to come back for.

    Args:
        job: Its row.
        last_id: The id of the last event that the listener has had.
    """
    return job.status in TERMINAL_STATUSES and (last_id or "").endswith(f"-{END}")


def _texts_told(last_id: str | None) -> int:
    """How many texts of an ended job a listener has had."""
    _, _, rest = (last_id or "").partition(f"-{END}")
    return int(rest or 0)


def _event(kind: str, data: dict[str, Any], entry_id: str | None = None) -> str:
    name = "" if entry_id is None else f"id: {entry_id}\n"
    return f"{name}event: {kind}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"
