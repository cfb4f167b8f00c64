"""Stream texts as OpenAI's API does: chunks while they are written, and ``[DONE]``.

The events are those of ``GET /v1/jobs/{id}/events``. Here they have no ids and there is no
``retry:``: the stock clients can't read them, and don't resume.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import redis
import structlog
from flask import Response, request, stream_with_context
from pydantic import BaseModel

from api.errors import ApiError, TooManyEventStreams
from api.front import NoSeat
from api.http.client_gone import client_gone, when_client_goes
from api.openai.errors import TextFailed, TooManyWaits, event_body
from api.openai.faces import Face
from api.openai.fingerprints import combined, fingerprint
from api.openai.texts import (
    SubmittedTexts,
    cancel,
    failure,
    new_ids,
    usage,
    written,
)
from api.operations.following.event_stream import HEARTBEAT, EventStream
from api.operations.following.job_follower import JobFollower, StreamEvent
from api.permissions import current_user
from api.schemas.generation import GenerateRequest
from api.schemas.texts import TextReply
from api.services import Services, services
from shared.database import reading
from shared.tables import TERMINAL_STATUSES

EVENT_STREAM = "text/event-stream"
DONE = "data: [DONE]\n\n"
FAILED = "the server failed, not your request. Its log has the reason"

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _JobTexts:
    """What was sent of one job's texts.

    Attributes:
        face: How they are shown.
        first: The index of the first one among the request's texts.
        holds_pieces: Send each text as a whole, since its log-probabilities come at its end.
        read_fingerprint: Reads the job's fingerprint, once its worker writes.
        sent: The characters that were sent of each text, by its position.
        texts: Those that have ended, by position.
        has_succeeded: Whether the job has.
    """

    face: Face
    first: int
    holds_pieces: bool
    read_fingerprint: Callable[[], str]
    sent: dict[int, int] = field(default_factory=dict)
    texts: dict[int, TextReply] = field(default_factory=dict)
    has_succeeded: bool = False
    fingerprint: str = ""

    def chunks(self, event: StreamEvent) -> Iterator[BaseModel]:
        """Yield what an event adds.

        Raises:
            ApiError: The job has failed, or was cancelled.
        """
        if event.kind == "piece" and not self.holds_pieces:
            # After a piece that was lost, the rest comes with the whole text.
            if event.data["offset"] == self.sent.get(event.data["index"], 0):
                prompt = event.data.get("prompt", "")
                yield from self._part(event.data["index"], event.data["text"], prompt)
        elif event.kind == "text":
            fields = {name: value for name, value in event.data.items() if name != "lineage"}
            text = TextReply.model_validate(fields)
            if text.index not in self.texts and text.finish_reason in ("stop", "length"):
                yield from self._end(text)
        elif event.kind == "state" and event.data["status"] in TERMINAL_STATUSES:
            self._state(event.data)

    def _state(self, job: dict[str, Any]) -> None:
        if job["status"] != "succeeded":
            detail = None if job["error"] is None else job["error"]["detail"]
            raise failure(job["id"], job["status"], detail)
        self.has_succeeded = True

    def _part(self, position: int, text: str, prompt: str) -> Iterator[BaseModel]:
        is_first = position not in self.sent
        self.sent[position] = self.sent.get(position, 0) + len(text)
        shown = prompt + text if is_first and self.face.echo else text
        self.fingerprint = self.fingerprint or self.read_fingerprint()
        yield self.face.part(self.first + position, shown, self.fingerprint, is_first=is_first)

    def _end(self, text: TextReply) -> Iterator[BaseModel]:
        rest = written(text)[self.sent.get(text.index, 0) :]
        if rest or text.index not in self.sent:
            yield from self._part(text.index, rest, text.prompt)
        self.texts[text.index] = text
        yield self.face.last(self.first + text.index, text, self.fingerprint)

    def in_order(self) -> list[TextReply]:
        """Return the texts by position."""
        return [self.texts[position] for position in sorted(self.texts)]


@dataclass(frozen=True, slots=True, kw_only=True)
class TextStream:
    """A request that streams.

    Attributes:
        submitted: Its jobs.
        generations: What they write.
        face: How the texts are shown.
        by_words: Whether a token is a word.
        includes_usage: Whether the stream ends with the usage.
        should_end: Whether the client left, or lost its seat.
        sender: Whose stream it is.
        keeps_jobs: Whether the jobs go on without the client, who can come back for them.
        announced_at: When the listener of the first job was announced, before that was committed;
            None if it was not, or if the job is older.
    """

    services: Services
    submitted: SubmittedTexts
    generations: Sequence[GenerateRequest]
    face: Face
    by_words: bool
    includes_usage: bool
    should_end: Callable[[], bool]
    sender: str
    keeps_jobs: bool
    announced_at: float | None

    def encoded(self) -> Iterator[str]:
        """Yield the events. The jobs are cancelled if the stream ends before they do."""
        try:
            yield from self._chunks()
        except ApiError as error:
            self._cancel()
            yield f"data: {event_body(error)}\n\n"
        except Exception as error:
            log.error("stream_failed", exc_info=error)
            self._cancel()
            yield f"data: {event_body(TextFailed(FAILED))}\n\n"
        except GeneratorExit:
            self._cancel()
            raise

    def _chunks(self) -> Iterator[str]:
        jobs = []
        for number, job_id in enumerate(self.submitted.jobs):
            texts = _JobTexts(
                self.face,
                first=number * self.generations[number].n,
                holds_pieces=self.generations[number].logprobs,
                read_fingerprint=partial(self._fingerprint, job_id),
            )
            # Those after the first have begun before anybody reads them.
            yield from self._job(job_id, texts, self.announced_at if number == 0 else None)
            jobs.append(texts)
        if self.includes_usage:
            used = usage(
                [texts.in_order() for texts in jobs], self.generations, by_words=self.by_words
            )
            yield _encode(self.face.end(used, combined([texts.fingerprint for texts in jobs])))
        yield DONE

    def _job(self, job_id: str, texts: _JobTexts, announced_at: float | None) -> Iterator[str]:
        follower = JobFollower(self.services, job_id, None, self.sender, announced_at=announced_at)
        for told in EventStream(self.services, [follower], self.should_end).events():
            if told is None:
                yield HEARTBEAT
            else:
                yield from map(_encode, texts.chunks(told[1]))
        if follower.refusal is not None:
            raise follower.refusal
        if not texts.has_succeeded:
            raise TooManyWaits(
                "the stream ends before its text: the server stops, or somebody else got this "
                "stream's place. Send the request again"
            )

    def _fingerprint(self, job_id: str) -> str:
        with (
            self.services.request_slots.held(self.sender),
            reading(self.services.engine) as connection,
        ):
            return fingerprint(connection, job_id)

    def _cancel(self) -> None:
        if not self.keeps_jobs:
            with self.services.request_slots.held(self.sender):
                cancel(self.services, self.submitted.jobs)


def stream_texts(
    submit: Callable[[Sequence[str]], SubmittedTexts],
    generations: Sequence[GenerateRequest],
    make_face: Callable[[SubmittedTexts], Face],
    *,
    by_words: bool,
    includes_usage: bool,
    keeps_jobs: bool,
) -> Response:
    """Submit texts, and answer with a stream of them.

    The listener is announced before the first job is committed: whoever writes it knows at once
    that somebody reads, and nothing has to be read again afterwards.

    Args:
        submit: Submits the jobs, given their new ids.
        generations: What is submitted.
        make_face: Makes what shows the texts.
        by_words: As in `TextStream`, as all that follows.
        includes_usage: See there.
        keeps_jobs: See there.

    Raises:
        TooManyEventStreams: All seats are taken. Nothing was submitted.
    """
    shared = services()
    try:
        seat = shared.event_stream_seats.take(current_user().id)
    except NoSeat:
        raise TooManyEventStreams(shared.settings.max_listeners) from None
    try:
        ids = new_ids(len(generations))
        announced_at = _announce(shared, ids[0])
        submitted = submit(ids)
    except BaseException:
        shared.event_stream_seats.leave(seat)
        raise
    hung_up = client_gone()
    stream = TextStream(
        services=shared,
        submitted=submitted,
        generations=generations,
        face=make_face(submitted),
        by_words=by_words,
        includes_usage=includes_usage,
        should_end=lambda: seat.revoked.is_set() or hung_up(),
        sender=request.headers.get("Authorization", ""),
        keeps_jobs=keeps_jobs,
        announced_at=None if submitted.replayed else announced_at,
    )
    response = Response(stream_with_context(stream.encoded()), content_type=EVENT_STREAM)
    response.call_on_close(lambda: shared.event_stream_seats.leave(seat))
    # The thread notices later that its client left.
    when_client_goes(lambda: shared.event_stream_seats.vacate(seat))
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Accel-Buffering"] = "no"
    return response


def _announce(shared: Services, job_id: str) -> float | None:
    """Announce a listener; return when (monotonic), or None while Redis is away."""
    at = time.monotonic()
    try:
        shared.event_reader.announce(job_id)
    except redis.RedisError:
        return None
    return at


def _encode(chunk: BaseModel) -> str:
    return f"data: {chunk.model_dump_json()}\n\n"
