"""``POST /v1/generate`` and ``POST /v1/score``: write texts with a model, or score one."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from flask import Response
from pydantic import BaseModel
from sqlalchemy.orm import Session

from api.errors import INVALID_KEY, Unauthenticated
from api.http.idempotency import REPLAYED, Creation, Result, create_once, find_result
from api.http.openapi import Resource
from api.http.prefer_wait import seconds_to_wait, wait_for_end, wait_seat
from api.http.responses import json_response
from api.operations.corpus_storage import create_with_text
from api.operations.generation import enqueue_generation, enqueue_score, text_to_keep
from api.permissions import has_valid_key, own_job
from api.schemas.generation import GenerateRequest, ScoreRequest
from api.schemas.headers import IdempotencyAndPreferHeaders
from api.schemas.jobs import JobReply
from api.serializers.jobs import job_reply
from api.services import reading, services
from shared.free_disk import check_free_disk
from shared.tables import TERMINAL_STATUSES
from shared.texts.corpus_text import CorpusText

generate = Resource("generate", "Write texts with a model")


@generate.post("/generate", 202, JobReply, other_responses={200: JobReply})
def submit_generation(header: IdempotencyAndPreferHeaders, body: GenerateRequest) -> Response:
    """Write texts with a model.

    The response is the job. With `Prefer: wait=N` it is 200 and has the texts if the job ends
    within N seconds. Each text has a seed of its own, derived from the job's seed.
    """
    return _create_and_wait(header, body, lambda session: enqueue_generation(session, body))


@generate.post("/score", 202, JobReply, other_responses={200: JobReply})
def submit_score(header: IdempotencyAndPreferHeaders, body: ScoreRequest) -> Response:
    """Score a text: how likely does a model find it?

    The response is a job, as for `POST /v1/generate`. Its only text has your text as its
    `prompt`, with `bits_per_char` and `mean_logprob`. A corpus, or a text that is kept as one, is
    read piece by piece, and `prompt` is empty.
    """
    kept = text_to_keep(body)
    return _create_and_wait(header, body, lambda session: enqueue_score(session, body, kept), kept)


def _create_and_wait(
    header: IdempotencyAndPreferHeaders,
    body: BaseModel,
    create: Callable[[Session], Creation],
    kept: CorpusText | None = None,
) -> Response:
    seconds = seconds_to_wait(header.prefer)

    def create_job(session: Session) -> Creation:
        creation = create(session)
        # A client that waits for the end needs no place in the queue.
        return replace(creation, complete_reply=None) if seconds else creation

    if kept is None:
        result = create_once(header, body, create_job)
    else:
        check_free_disk(services().engine, services().settings)
        earlier = find_result(header, body)
        result = earlier or create_with_text(header, body, kept, create_job)
    with wait_seat(seconds) as seat:
        if seat is None:
            return result.response()
        check = partial(_ended_job, result)
        ended = wait_for_end(result.body["id"], seconds, check, seat=seat, new=not result.replayed)
    response = result.response() if ended is None else ended
    response.headers["Preference-Applied"] = f"wait={seconds}"
    return response


def _ended_job(result: Result) -> Response | None:
    """Return the job with its texts; None until it has ended."""
    with reading() as session:
        if not has_valid_key(session):
            raise Unauthenticated(INVALID_KEY)
        job = own_job(session, result.body["id"])
        if job.status not in TERMINAL_STATUSES:
            return None
        reply = job_reply(session, job)
    return json_response(reply, 200, {REPLAYED: "true"} if result.replayed else {})
