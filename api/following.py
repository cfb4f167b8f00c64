"""What follows a job as Server-Sent Events: first its rows, then what it says, then its end.

The rows are the truth and the stream is a hint (shared/stream.py): where Redis is away, or has lost
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

from api.render import job_reply, text_reply
from api.services import LOOK_SECONDS, Services
from shared import stream
from shared.tables import TERMINAL_STATUSES, GeneratedText, Job

#: Something is written as often: who has gone is noticed by it, and proxies keep the connection.
HEARTBEAT_SECONDS = 15.0
#: How long a browser waits before it comes back.
RETRY_MILLISECONDS = 2000
#: Of a training that has written more, the first ones are at ``/v1/jobs/{id}/texts``.
MOST_TEXTS = 200
#: Ids of what comes from the rows of a job that has ended: ``attempt-end``, and a count.
END = "end"

log = structlog.get_logger(__name__)


class Following:
    """One listener of one job.

    Args:
        shared: Of the application.
        job_id: The job; the listener may see it.
        last_id: The id of the last event that the listener has had; None for a new one.
    """

    def __init__(self, shared: Services, job_id: str, last_id: str | None) -> None:
        self._shared = shared
        self._job_id = job_id
        self._told_of_end = _count_of_end(last_id)
        self._cursor = last_id if last_id is not None and self._told_of_end is None else None
        self._state: tuple[Any, ...] | None = None
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
        entries: list[stream.Entry] = []
        with suppress(redis.RedisError):
            entries = self._shared.listener.all(self._job_id)
        known = self._cursor is not None and any(entry.id == self._cursor for entry in entries)
        if known and self._cursor is not None:
            place = stream.order(self._cursor)
            for entry in entries:
                if stream.order(entry.id) > place:
                    yield from self._entry(entry)
                elif entry.kind == "piece":
                    self._piece(entry)
            if not self._ended:
                yield from self._look()
            return
        self._cursor = entries[-1].id if entries else stream.BEGINNING
        yield from self._look(whole=True)
        if not self._ended:
            for entry in entries:
                if entry.kind == "piece":
                    yield from self._piece(entry)

    def _go_on(self) -> Iterator[str]:
        after = self._cursor or stream.BEGINNING
        try:
            entries = self._shared.listener.read(self._job_id, after, LOOK_SECONDS)
            if not entries and stream.order(self._shared.listener.last(self._job_id)) < (
                stream.order(after)
            ):
                # Redis has lost the stream, and it may begin anew behind us.
                self._cursor = stream.BEGINNING
        except redis.RedisError:
            entries = []
            self._shared.stopping.wait(1.0)
        for entry in entries:
            yield from self._entry(entry)
            if self._ended:
                return
        if not entries:
            yield from self._look()

    def _entry(self, entry: stream.Entry) -> Iterator[str]:
        self._cursor = entry.id
        if entry.kind == "piece":
            yield from self._piece(entry)
        elif entry.kind == "metrics":
            yield _event("metrics", entry.data, entry.id)
        elif entry.kind == "texts":
            yield from self._texts_of(entry)
        else:
            yield from self._look(entry.id)

    def _piece(self, entry: stream.Entry) -> Iterator[str]:
        """A piece of a text, without what was told of it: a new attempt writes it all again."""
        position, offset, text = (entry.data[name] for name in ("position", "offset", "text"))
        prompt = {"prompt": entry.data["prompt"]} if "prompt" in entry.data else {}
        told = self._sent.get(position, 0)
        if offset + len(text) <= told:
            return
        if offset < told:
            text, offset, prompt = text[told - offset :], told, {}
        self._sent[position] = offset + len(text)
        piece = {"index": position, "offset": offset, "text": text} | prompt
        yield _event("piece", piece, entry.id)

    def _texts_of(self, entry: stream.Entry) -> Iterator[str]:
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
        events = [*(("text", text) for text in texts), ("state", reply)]
        for i, (kind, data) in enumerate(events):
            if i >= (self._told_of_end or 0):
                yield _event(kind, data, f"{attempt}-{END}{i + 1}")

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


def is_told_all(job: Job, texts: int, last_id: str | None) -> bool:
    """Whether a listener has had the end of a job: then there is nothing to come back for.

    Args:
        job: Its row.
        texts: How many texts it has that its end tells.
        last_id: The id of the last event that the listener has had.
    """
    return job.status in TERMINAL_STATUSES and (_count_of_end(last_id) or 0) > texts


def _count_of_end(last_id: str | None) -> int | None:
    _, _, rest = (last_id or "").partition("-")
    return int(rest.removeprefix(END)) if rest.startswith(END) else None


def _event(kind: str, data: dict[str, Any], entry_id: str | None = None) -> str:
    name = "" if entry_id is None else f"id: {entry_id}\n"
    return f"{name}event: {kind}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"
