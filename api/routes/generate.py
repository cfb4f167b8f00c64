"""``POST /v1/generate``, ``/v1/score`` and ``/v1/next``: write texts, score one, look ahead."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from flask import Response
from pydantic import BaseModel
from sqlalchemy.orm import Session

from api.front import Seat
from api.http.authentication import confirms_key
from api.http.idempotency import REPLAYED, Creation, Result, create_once, find_result
from api.http.openapi import Resource
from api.http.prefer_wait import (
    expected_end,
    published_texts,
    seconds_to_wait,
    wait_for_end,
    wait_seat,
)
from api.http.responses import json_response
from api.operations.library.corpus_storage import create_with_text
from api.operations.notifications import notify_of_job
from api.operations.texts.generation import enqueue_text, generation_request, next_request
from api.operations.texts.scores import enqueue_corpus_score, score_request, text_to_keep
from api.operations.texts.submission_groups import enqueue_in_group
from api.operations.texts.text_requests import TextRequest
from api.permissions import current_user, presented_user, waited_job
from api.schemas.generation import GenerateRequest, NextRequest, ScoreRequest
from api.schemas.headers import IdempotencyAndPreferHeaders
from api.schemas.jobs import JobReply
from api.serializers.jobs import ended_job_reply, stored_texts
from api.serializers.texts import TextColumns
from api.services import services
from shared.database import reading
from shared.free_disk import check_free_disk
from shared.ids import new_id
from shared.job_ends import EndWaiter
from shared.tables import TERMINAL_STATUSES
from shared.texts.corpus_text import CorpusText

generate = Resource("generate", "Write texts with a model")

#: Submits a job, given its new id and what expects its end if the request waits for that.
Enqueue = Callable[[str, EndWaiter | None], Result]


@generate.post("/generate", 202, JobReply, other_responses={200: JobReply})
@confirms_key
def submit_generation(header: IdempotencyAndPreferHeaders, body: GenerateRequest) -> Response:
    """Write texts with a model.

    The response is the job. With `Prefer: wait=N` it is 200 and has the texts if the job ends
    within N seconds. Each text has a seed of its own, derived from the job's seed.
    """
    if body.notify:
        return _create_and_wait(header, partial(_enqueue_and_notify, header, body))
    request = generation_request(body, presented_user())
    return _create_and_wait(header, _in_group(header, body, request))


@generate.post("/score", 202, JobReply, other_responses={200: JobReply})
@confirms_key
def submit_score(header: IdempotencyAndPreferHeaders, body: ScoreRequest) -> Response:
    """Score a text: how likely does a model find it?

    The response is a job, as for `POST /v1/generate`. Its only text has your text as its
    `prompt`, with `bits_per_char` and `mean_logprob`. A corpus, or a text that is kept as one, is
    read piece by piece, and `prompt` is empty.
    """
    kept = text_to_keep(body)
    if kept is None and body.corpus is None:
        request = score_request(body, presented_user())
        return _create_and_wait(header, _in_group(header, body, request))
    return _create_and_wait(header, partial(_enqueue_corpus_score, header, body, kept))


@generate.post("/next", 202, JobReply, other_responses={200: JobReply})
@confirms_key
def submit_next(header: IdempotencyAndPreferHeaders, body: NextRequest) -> Response:
    """Tell which tokens may follow a prompt, and how likely each is at some temperatures.

    The response is a job, as for `POST /v1/generate`. Its only text is empty and has the
    distributions as `next`. Nothing is drawn, so that the same request has the same answer.
    """
    request = next_request(body, presented_user())
    return _create_and_wait(header, _in_group(header, body, request))


def _in_group(
    header: IdempotencyAndPreferHeaders, body: BaseModel, request: TextRequest
) -> Enqueue:
    return lambda job_id, waiter: enqueue_in_group(
        header, body, request, job_id, waits=waiter is not None, waiter=waiter
    )


def _enqueue_and_notify(
    header: IdempotencyAndPreferHeaders,
    body: GenerateRequest,
    job_id: str,
    waiter: EndWaiter | None,
) -> Result:
    """Submit a text alone: its group's transaction knows nothing of notifications."""
    user = current_user()

    def create(session: Session) -> Creation:
        creation = enqueue_text(session, generation_request(body, user), job_id)
        notify_of_job(session, job_id, body.notify)
        return _without_place(creation) if waiter is not None else creation

    return create_once(header, body, create)


def _enqueue_corpus_score(
    header: IdempotencyAndPreferHeaders,
    body: ScoreRequest,
    kept: CorpusText | None,
    job_id: str,
    waiter: EndWaiter | None,
) -> Result:
    # Nothing is stored for a key that is not confirmed.
    current_user()

    def create(session: Session) -> Creation:
        creation = enqueue_corpus_score(session, body, kept, job_id)
        return _without_place(creation) if waiter is not None else creation

    if kept is None:
        return create_once(header, body, create)
    check_free_disk(services().engine, services().settings)
    return find_result(header, body) or create_with_text(header, body, kept, create)


def _without_place(creation: Creation) -> Creation:
    """A client that waits for the end needs no place in the queue."""
    return replace(creation, complete_reply=None)


def _create_and_wait(header: IdempotencyAndPreferHeaders, enqueue: Enqueue) -> Response:
    seconds = seconds_to_wait(header.prefer)
    job_id = new_id()
    with wait_seat(seconds) as seat:
        if seat is None:
            return enqueue(job_id, None).response()
        deadline = time.monotonic() + seconds
        with expected_end(job_id) as waiter:
            result = enqueue(job_id, waiter)
            ended = None if result.replayed else _wait(result, waiter, deadline, seat)
        if result.replayed:
            with expected_end(result.body["id"]) as waiter:
                ended = _wait(result, waiter, deadline, seat)
    response = result.response() if ended is None else ended
    response.headers["Preference-Applied"] = f"wait={seconds}"
    return response


def _wait(result: Result, waiter: EndWaiter, deadline: float, seat: Seat) -> Response | None:
    check = partial(_ended_job, waiter, replayed=result.replayed)
    return wait_for_end(waiter, deadline, check, seat=seat, new=not result.replayed)


def _ended_job(waiter: EndWaiter, *, replayed: bool) -> Response | None:
    """Return the job with its texts; None until it has ended."""
    engine = services().engine
    job = waited_job(engine, waiter)
    if job.status not in TERMINAL_STATUSES:
        return None
    texts: Sequence[TextColumns] | None = published_texts(waiter, job.status, job.attempt)
    if texts is None:
        with reading(engine) as connection:
            texts = stored_texts(connection, job.id)
    reply = ended_job_reply(job, texts)
    return json_response(reply, 200, {REPLAYED: "true"} if replayed else {})
