"""Submit texts, wait for them, and cancel those that nobody waits for any more."""

import math
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import structlog
from pydantic import BaseModel
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from api.errors import ApiError
from api.front import Seat
from api.http.idempotency import Creation, create_once
from api.http.prefer_wait import expected_end, published_texts, take_slot_again, wait_for_end
from api.openai.errors import TextFailed, TextNotReady, TooManyWaits
from api.openai.fingerprints import fingerprint
from api.openai.replies import Usage
from api.operations.texts.generation import enqueue_text, generation_request
from api.operations.texts.submission_groups import enqueue_in_group
from api.operations.texts.text_requests import TextRequest
from api.permissions import current_user, waited_job
from api.schemas.generation import GenerateRequest
from api.schemas.headers import IdempotencyHeader
from api.schemas.replies import Reply
from api.schemas.texts import TextReply
from api.serializers.jobs import ended_job_reply, stored_texts
from api.serializers.texts import TextColumns
from api.services import Services, services
from shared.database import reading
from shared.ids import new_id
from shared.job_ends import EndWaiter
from shared.queue.errors import AlreadyEnded, NoSuchJob
from shared.queue.types import JobEnd
from shared.tables import TERMINAL_STATUSES, Job

#: What a word model cuts a prompt into, but for the words that it spells (worker/ml/words.py).
_WORDS = re.compile(r" ?\w+(?:['’]\w+)*| ?[^\w\s]+|\n+|\s")

log = structlog.get_logger(__name__)


class CreatedJobs(Reply):
    """The jobs of a request with several prompts, one for each; and when they were created."""

    jobs: list[str]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class SubmittedTexts:
    """The jobs of a request.

    Attributes:
        jobs: Their ids, one for each prompt.
        created: When they were created, in seconds.
        replayed: Whether an earlier request with the same key has created them.
    """

    jobs: list[str]
    created: int
    replayed: bool


@dataclass(frozen=True, slots=True)
class EndedJob:
    """A job that has succeeded.

    Attributes:
        texts: Its texts, in order.
        fingerprint: Names what the bits of its texts depend on.
    """

    texts: list[TextReply]
    fingerprint: str


def submit(
    header: IdempotencyHeader,
    body: BaseModel,
    generations: Sequence[GenerateRequest],
    job_ids: Sequence[str] | None = None,
    waiter: EndWaiter | None = None,
) -> SubmittedTexts:
    """Submit a job for each generation: all of them, or none.

    Args:
        header: Holds the idempotency key.
        body: What must be equal in two requests with one key.
        generations: The generations.
        job_ids: The ids of the new jobs; new ones by default.
        waiter: Expects the end of the only one of them.

    Raises:
        ApiError: One of them is refused.
        shared.scheduling.errors.CapReached: The user has reached a cap.
    """
    requests = [generation_request(generation, current_user()) for generation in generations]
    ids = new_ids(len(requests)) if job_ids is None else job_ids
    if len(requests) == 1:
        result = enqueue_in_group(header, body, requests[0], ids[0], waits=True, waiter=waiter)
        take_slot_again()
        jobs = [result.body["id"]]
    else:
        result = create_once(header, body, partial(_create_all, requests, ids))
        jobs = result.body["jobs"]
    created = datetime.fromisoformat(result.body["created_at"])
    return SubmittedTexts(jobs, int(created.timestamp()), result.replayed)


def new_ids(count: int) -> list[str]:
    """Return ids in their order, so that a request's prompts are written in theirs."""
    return sorted(new_id() for _ in range(count))


def _create_all(
    requests: Sequence[TextRequest], job_ids: Sequence[str], session: Session
) -> Creation:
    creations = [
        enqueue_text(session, request, job_id)
        for request, job_id in zip(requests, job_ids, strict=True)
    ]

    def wake_all() -> None:
        for creation in creations:
            if creation.after_commit is not None:
                creation.after_commit()

    created_at = creations[0].reply.created_at  # type: ignore[attr-defined]
    reply = CreatedJobs(jobs=list(job_ids), created_at=created_at)
    return Creation(reply, 202, after_commit=wake_all)


def submit_and_wait(
    header: IdempotencyHeader,
    body: BaseModel,
    generations: Sequence[GenerateRequest],
    seconds: int,
    seat: Seat,
) -> tuple[SubmittedTexts, list[EndedJob]]:
    """Submit a job for each generation, and wait until all have ended.

    Without an idempotency key nobody can come back for the texts: if the wait is in vain, the jobs
    are cancelled.

    Raises:
        ApiError: One of them is refused.
        shared.scheduling.errors.CapReached: The user has reached a cap.
        TextNotReady: They take longer.
        TextFailed: One has failed, or was cancelled.
        TooManyWaits: The seat went to somebody else, or the server stops.
    """
    job_ids = new_ids(len(generations))
    has_key = header.idempotency_key is not None
    # Before the commit, so that no end is missed.
    deadline = time.monotonic() + seconds
    with _expected_ends(job_ids) as waiters:
        only = waiters[0] if len(waiters) == 1 else None
        submitted = submit(header, body, generations, job_ids, only)
        if not submitted.replayed:
            try:
                return submitted, _wait_for_all(waiters, deadline, seat, new=True, has_key=has_key)
            except BaseException:
                if not has_key:
                    cancel(services(), submitted.jobs)
                raise
    with _expected_ends(submitted.jobs) as waiters:
        return submitted, _wait_for_all(waiters, deadline, seat, new=False, has_key=has_key)


@contextmanager
def _expected_ends(job_ids: Sequence[str]) -> Iterator[list[EndWaiter]]:
    with ExitStack() as stack:
        yield [stack.enter_context(expected_end(job_id)) for job_id in job_ids]


def _wait_for_all(
    waiters: Sequence[EndWaiter], deadline: float, seat: Seat, *, new: bool, has_key: bool
) -> list[EndedJob]:
    ended = []
    for number, waiter in enumerate(waiters):
        check = partial(_read_ended, waiter)
        job = wait_for_end(waiter, deadline, check, seat=seat, new=new and number == 0)
        if job is None:
            raise _not_ready(seat, has_key=has_key)
        ended.append(job)
    return ended


def _not_ready(seat: Seat, *, has_key: bool) -> ApiError:
    if seat.revoked.is_set():
        return TooManyWaits("somebody else got this request's place to wait. Send it again")
    way = (
        "It goes on: send the same request again with its Idempotency-Key"
        if has_key
        else "It was cancelled. Stream it, ask for fewer tokens, or use POST /v1/generate"
    )
    seconds = math.ceil(services().settings.openai_wait_seconds)
    return TextNotReady(
        f"the text is not ready after {seconds} s (QUIRE_OPENAI_WAIT_SECONDS), or the server "
        f"stops. {way}"
    )


def _read_ended(waiter: EndWaiter) -> EndedJob | None:
    engine = services().engine
    job = waited_job(engine, waiter)
    if job.status not in TERMINAL_STATUSES:
        return None
    if job.status != "succeeded":
        raise failure(job.id, job.status, None if job.error is None else job.error["detail"])
    texts: Sequence[TextColumns] | None = published_texts(waiter, job.status, job.attempt)
    with reading(engine) as connection:
        if texts is None:
            texts = stored_texts(connection, job.id)
        reply = ended_job_reply(job, texts)
        return EndedJob(reply.texts or [], fingerprint(connection, job.id))


def failure(job_id: str, status: str, detail: str | None) -> TextFailed:
    """Return why a job that has ended has no texts."""
    return TextFailed(f"job {job_id} {'failed' if detail else f'was {status}'}: {detail or status}")


def cancel(shared: Services, jobs: Sequence[str]) -> None:
    """Cancel those jobs that have not ended: nobody will read their texts."""
    for job_id in jobs:
        try:
            with shared.write_sessions.begin() as session:
                shared.queue.cancel(session.connection(), job_id)
                attempt = session.get_one(Job, job_id).attempt
        except (AlreadyEnded, NoSuchJob):
            continue
        except DBAPIError as error:
            log.warning("text_not_cancelled", job=job_id, reason=str(error.orig))
            continue
        shared.event_publisher.publish(job_id, attempt, "state")
        shared.end_publisher.publish([JobEnd(job_id, attempt)])


def written(text: TextReply) -> str:
    """Return a text without its prompt."""
    return text.text.removeprefix(text.prompt) if text.echo else text.text


def usage(
    jobs: Sequence[Sequence[TextReply]], generations: Sequence[GenerateRequest], *, by_words: bool
) -> Usage:
    """Count the tokens of the texts, and of each prompt once."""
    read = new = 0
    for texts, generation in zip(jobs, generations, strict=True):
        # Texts without a prompt have their own pieces of the corpus.
        prompts = [text.prompt for text in texts[: 1 if generation.prompt else None]]
        read += sum(len(_WORDS.findall(p)) if by_words else len(p) for p in prompts)
        new += sum(_tokens(text, generation.length, by_words=by_words) for text in texts)
    return Usage(prompt_tokens=read, completion_tokens=new, total_tokens=read + new)


def _tokens(text: TextReply, length: int, *, by_words: bool) -> int:
    body = written(text)
    if not by_words:
        return len(body)
    if text.finish_reason == "length":
        return length
    if not text.mean_logprob or text.bits_per_char is None:
        return len(_WORDS.findall(body))
    # Both are means of one sum: over its tokens, and over its characters.
    return round(text.bits_per_char * math.log(2) * len(body) / -text.mean_logprob)
