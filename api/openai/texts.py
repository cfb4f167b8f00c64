"""Submit texts, wait for them, and cancel those that nobody waits for any more."""

import hashlib
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version

import structlog
from pydantic import BaseModel
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from api.errors import INVALID_KEY, ApiError, Unauthenticated
from api.front import Seat
from api.http.idempotency import Creation, create_once
from api.http.prefer_wait import wait_for_end
from api.openai.errors import TextFailed, TextNotReady, TooManyWaits
from api.openai.replies import Usage
from api.operations.generation import enqueue_generation
from api.permissions import has_valid_key, own_job
from api.schemas.generation import GenerateRequest
from api.schemas.headers import IdempotencyHeader
from api.schemas.replies import Reply
from api.schemas.texts import TextReply
from api.serializers.jobs import job_reply
from api.services import Services, reading
from shared.queue.errors import AlreadyEnded, NoSuchJob
from shared.tables import TERMINAL_STATUSES, Checkpoint, Device, Job

#: What a word model cuts a prompt into, but for the words that it spells (worker/ml/words.py).
_WORDS = re.compile(r" ?\w+(?:['’]\w+)*| ?[^\w\s]+|\n+|\s")

log = structlog.get_logger(__name__)


class SubmittedTexts(Reply):
    """The jobs of a request, one for each of its prompts; and when they were created."""

    jobs: list[str]
    created: int


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
    header: IdempotencyHeader, body: BaseModel, generations: Sequence[GenerateRequest]
) -> SubmittedTexts:
    """Submit a job for each generation: all of them, or none.

    Args:
        header: Holds the idempotency key.
        body: What must be equal in two requests with one key.
        generations: The generations.

    Raises:
        ApiError: One of them is refused.
        shared.scheduling.errors.CapReached: The user has reached a cap.
    """

    def create(session: Session) -> Creation:
        creations = [enqueue_generation(session, generation) for generation in generations]
        jobs = [creation.reply for creation in creations]

        def wake_all() -> None:
            for creation in creations:
                if creation.after_commit is not None:
                    creation.after_commit()

        reply = SubmittedTexts(
            jobs=[job.id for job in jobs],  # type: ignore[attr-defined]
            created=int(jobs[0].created_at.timestamp()),  # type: ignore[attr-defined]
        )
        return Creation(reply, 202, after_commit=wake_all)

    return SubmittedTexts.model_validate(create_once(header, body, create).body)


def wait_for_all(
    submitted: SubmittedTexts, seconds: int, seat: Seat, *, has_key: bool
) -> list[EndedJob]:
    """Wait until all jobs have ended.

    Raises:
        TextNotReady: They take longer.
        TextFailed: One has failed, or was cancelled.
        TooManyWaits: The seat went to somebody else, or the server stops.
    """
    ended = []
    for number, job_id in enumerate(submitted.jobs):
        check = partial(_read_ended, job_id)
        job = wait_for_end(job_id, seconds, check, seat=seat, new=number == 0)
        if job is None:
            raise _not_ready(seconds, seat, has_key=has_key)
        ended.append(job)
    return ended


def _not_ready(seconds: int, seat: Seat, *, has_key: bool) -> ApiError:
    if seat.revoked.is_set():
        return TooManyWaits("somebody else got this request's place to wait. Send it again")
    way = (
        "It goes on: send the same request again with its Idempotency-Key"
        if has_key
        else "It was cancelled. Stream it, ask for fewer tokens, or use POST /v1/generate"
    )
    return TextNotReady(
        f"the text is not ready after {seconds} s (QUIRE_OPENAI_WAIT_SECONDS), or the server "
        f"stops. {way}"
    )


def _read_ended(job_id: str) -> EndedJob | None:
    with reading() as session:
        if not has_valid_key(session):
            raise Unauthenticated(INVALID_KEY)
        job = own_job(session, job_id)
        if job.status not in TERMINAL_STATUSES:
            return None
        if job.status != "succeeded":
            raise failure(job.id, job.status, None if job.error is None else job.error["detail"])
        texts = job_reply(session, job).texts or []
        return EndedJob(texts, fingerprint(session, job))


def failure(job_id: str, status: str, detail: str | None) -> TextFailed:
    """Return why a job that has ended has no texts."""
    return TextFailed(f"job {job_id} {'failed' if detail else f'was {status}'}: {detail or status}")


def cancel(services: Services, jobs: Sequence[str]) -> None:
    """Cancel those jobs that have not ended: nobody will read their texts."""
    for job_id in jobs:
        try:
            with services.write_sessions.begin() as session:
                services.queue.cancel(session.connection(), job_id)
                attempt = session.get_one(Job, job_id).attempt
        except (AlreadyEnded, NoSuchJob):
            continue
        except DBAPIError as error:
            log.warning("text_not_cancelled", job=job_id, reason=str(error.orig))
            continue
        services.event_publisher.publish(job_id, attempt, "state")


def fingerprint(session: Session, job: Job) -> str:
    """Name what the bits of a job's texts depend on: the checkpoint, the worker, the versions."""
    checkpoint = session.get(Checkpoint, job.checkpoint_id) if job.checkpoint_id else None
    device = session.get(Device, job.worker_id) if job.worker_id else None
    facts = [
        version("quire"),
        None if checkpoint is None else checkpoint.digest,
        job.worker_id,
        None if device is None else [device.versions, device.gpu_name],
    ]
    return f"fp_{hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]}"


def combined(fingerprints: Sequence[str]) -> str:
    """Return the fingerprint of several jobs."""
    distinct = sorted(set(fingerprints))
    if len(distinct) == 1:
        return distinct[0]
    return f"fp_{hashlib.sha256(''.join(distinct).encode()).hexdigest()[:16]}"


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
