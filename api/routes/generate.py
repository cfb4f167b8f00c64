"""``POST /v1/generate``: texts to write with a model."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from flask import Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.errors import Invalid, NoCheckpointYet, NotFound
from api.http.idempotency import REPLAYED, Creation, Result, create_once
from api.http.openapi import Resource
from api.http.prefer_wait import wait_slot, seconds_to_wait, wait_for
from api.http.responses import answer
from api.operations import prompts
from api.operations.submission import submit
from api.permissions import own_job, visible, current_user
from api.schemas.generation import MAX_LOGPROBS, MAX_TOTAL_TOKENS, GenerateRequest, ScoreRequest
from api.schemas.headers import IdempotencyAndPreferHeaders
from api.schemas.jobs import JobReply
from api.schemas.requests import SchedulingOptions
from api.serializers import job_reply
from api.services import reading
from shared.checkpoint_aliases import resolve
from shared.queue.types import Submission
from shared.specs.generation import GenerateSpec
from shared.specs.seeds import new_seed
from shared.tables import TERMINAL_STATUSES, Job, Model

generate = Resource("generate", "Have a network write")


@generate.post("/generate", 202, JobReply, also={200: JobReply})
def submit_generation(header: IdempotencyAndPreferHeaders, body: GenerateRequest) -> Response:
    """Write texts with a model.

    The answer is the job. With `Prefer: wait=N` it is 200 and has the texts, where the job
    ends within N seconds. Text `i` of temperature `j` gets a seed that is derived from the
    job's, and tells it.
    """
    seconds = seconds_to_wait(header.prefer)
    make = partial(_made, lambda session: _submit(session, body), waits=bool(seconds))
    return _wait(create_once(header, body, make), seconds)


@generate.post("/score", 202, JobReply, also={200: JobReply})
def submit_score(header: IdempotencyAndPreferHeaders, body: ScoreRequest) -> Response:
    """Tell how likely a model finds a text.

    The answer is a job, as for `POST /v1/generate`; its one text has the `bits_per_char` and the
    `mean_logprob` of what was sent, as its `prompt`.
    """
    seconds = seconds_to_wait(header.prefer)
    make = partial(_made, lambda session: _submit_score(session, body), waits=bool(seconds))
    return _wait(create_once(header, body, make), seconds)


def _made(make: Callable[[Session], Creation], session: Session, *, waits: bool) -> Creation:
    """What is made; its place in the line is not looked up for somebody who waits for the end."""
    made = make(session)
    return replace(made, whole=None) if waits else made


def _submit_score(session: Session, body: ScoreRequest) -> Creation:
    model = visible(session, Model, body.model, lock="use")
    _refuse_without_checkpoint(session, model, body.checkpoint)
    text = prompts.fit_to_vocabulary(
        body.text,
        model.vocabulary,
        lowercase=model.spec["lowercase"],
        unknown=body.unknown,
        field="text",
    )
    spec = GenerateSpec(
        checkpoint=body.checkpoint.lower(),
        prompt=text,
        length=0,
        temperatures=[1.0],
        top_k=None,
        top_p=None,
        n=1,
        seed=0,
        logprobs=body.logprobs,
        score=True,
    )
    return _submit_spec(session, model, body.name, spec)


def _submit(session: Session, body: GenerateRequest) -> Creation:
    _refuse_if_too_much(body)
    model = visible(session, Model, body.model, lock="use")
    if not _comes_after_training(session, model, body):
        _refuse_without_checkpoint(session, model, body.checkpoint)
    spec = GenerateSpec(
        checkpoint=body.checkpoint.lower(),
        prompt=_fit_prompt(model, body),
        length=body.length,
        temperatures=body.temperature,
        top_k=body.top_k,
        top_p=body.top_p,
        n=body.n,
        seed=new_seed() if body.seed is None else body.seed,
        repetition_penalty=body.repetition_penalty,
        stop=[prompts.normalize(stop, lowercase=model.spec["lowercase"]) for stop in body.stop],
        echo=body.echo,
        logprobs=body.logprobs,
    )
    return _submit_spec(session, model, body.name, spec, body)


def _submit_spec(
    session: Session,
    model: Model,
    name: str | None,
    spec: GenerateSpec,
    order: SchedulingOptions | None = None,
) -> Creation:
    plain = spec.model_dump(mode="json")
    return submit(
        session,
        Submission("generate", current_user().id, name or model.name, plain, model.id, model.corpus_id),
        order,
    )


def _wait(result: Result, seconds: int) -> Response:
    with wait_slot(seconds) as taken:
        if not taken:
            return result.answer()
        look = partial(_look, result)
        ended = wait_for_end(result.body["id"], seconds, look, new=not result.replayed)
    response = result.answer() if ended is None else ended
    response.headers["Preference-Applied"] = f"wait={seconds}"
    return response


def _look(result: Result) -> Response | None:
    """The job with its texts, once it has ended."""
    with reading() as session:
        job = own_job(session, result.body["id"])
        if job.status not in TERMINAL_STATUSES:
            return None
        reply = job_reply(session, job)
    return answer(reply, 200, {REPLAYED: "true"} if result.replayed else {})


def _fit_prompt(model: Model, body: GenerateRequest) -> str | None:
    if body.prompt is None:
        return None
    return prompts.fit_to_vocabulary(
        body.prompt,
        model.vocabulary,
        lowercase=model.spec["lowercase"],
        unknown=body.unknown,
        by_words=model.spec["tokenizer"] == "word",
    )


def _refuse_if_too_much(body: GenerateRequest) -> None:
    texts = body.n * len(body.temperature)
    if body.length * texts > MAX_TOTAL_TOKENS:
        raise Invalid(
            "length",
            body.length,
            f"{texts} texts of {body.length} tokens are {body.length * texts}, and one job "
            f"may write {MAX_TOTAL_TOKENS}: lower length to {MAX_TOTAL_TOKENS // texts}, "
            "or ask for fewer texts",
        )
    if body.logprobs and body.length * texts > MAX_LOGPROBS:
        raise Invalid(
            "logprobs",
            True,
            f"of {body.length * texts} tokens in all, and one job may tell those of "
            f"{MAX_LOGPROBS}: ask for less, or leave logprobs out",
        )


def _comes_after_training(session: Session, model: Model, body: GenerateRequest) -> bool:
    """Whether the model will have a checkpoint when the job's turn comes."""
    if body.after is None or body.checkpoint.lower() not in ("best", "latest"):
        return False
    job = own_job(session, body.after)
    return job.kind == "train" and job.model_id == model.id


def _refuse_without_checkpoint(session: Session, model: Model, reference: str) -> None:
    connection = session.connection()
    if resolve(connection, model.id, reference.lower(), use=True) is not None:
        return
    if resolve(connection, model.id, "latest") is not None:
        raise NotFound(f"checkpoint of model {model.name!r}", reference)
    job = session.scalar(
        select(Job).where(Job.model_id == model.id, Job.kind == "train", Job.user_id == current_user().id)
    )
    if job is None:
        raise NoCheckpointYet(f"model {model.name!r} can't write yet: wait until it has learnt")
    way_out = (
        "it will have none: train again"
        if job.status in TERMINAL_STATUSES
        else "wait for its first epoch, or ask for texts `after` it"
    )
    raise NoCheckpointYet(
        f"model {model.name!r} has no checkpoint, and its training job {job.id} is "
        f"{job.status}: {way_out}"
    )
