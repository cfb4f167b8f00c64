"""Submit a generation or a score: resolve its spec, and create its job."""

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from api.errors import Invalid, NetworkTooLarge, NoCheckpointYet, NotFound
from api.http.idempotency import Creation
from api.operations import prompts
from api.operations.excerpts import refuse_random_prompt
from api.operations.submission import submit
from api.permissions import current_user, own_job, visible
from api.schemas.generation import (
    MAX_ITEMS_PER_TEMPERATURE,
    MAX_LOGPROBS,
    MAX_TEXTS_PER_TEMPERATURE,
    MAX_TOTAL_TOKENS,
    GenerateRequest,
    ScoreRequest,
)
from api.schemas.requests import SchedulingOptions
from api.services import services
from shared.checkpoint_aliases import resolve
from shared.queue.types import Submission
from shared.specs.generation import GenerateSpec
from shared.specs.seeds import new_seed
from shared.tables import TERMINAL_STATUSES, Checkpoint, Corpus, Job, Model

#: While a checkpoint is loaded, its bytes and its arrays are in memory.
LOAD_COPIES = 2


def enqueue_generation(session: Session, body: GenerateRequest) -> Creation:
    """Submit the generation that a request asks for."""
    if "length" in body.model_fields_set:
        _refuse_if_too_large(body)
    model = visible(session, Model, body.model, lock="use")
    writes_items = bool(model.spec.get("items"))
    body = _fit_to_items(body) if writes_items else _fit_to_text(body)
    _refuse_if_too_large(body)
    if not _follows_training(session, model, body):
        _refuse_without_checkpoint(session, model, body.checkpoint)
    if body.prompt is None and not writes_items:
        refuse_random_prompt(session, model)
    spec = GenerateSpec(
        checkpoint=body.checkpoint.lower(),
        prompt=_fit_prompt(session, model, body),
        length=body.length,
        temperatures=body.temperature,
        top_k=body.top_k,
        top_p=body.top_p,
        n=body.n,
        seed=new_seed() if body.seed is None else body.seed,
        repetition_penalty=body.repetition_penalty,
        stop=_fit_stops(session, model, body),
        echo=body.echo,
        logprobs=body.logprobs,
        items=writes_items,
    )
    return _submit_spec(session, model, body.name, spec, body)


def _fit_to_items(body: GenerateRequest) -> GenerateRequest:
    """The request to a model of items, which begins them and lets them end."""
    if body.prompt_from is not None:
        raise Invalid(
            "prompt_from",
            body.prompt_from,
            "not possible with a model of items, which begins each at its beginning. Leave it out",
        )
    changes: dict[str, Any] = {"prompt": body.prompt or ""}
    if "length" not in body.model_fields_set:
        most = MAX_TOTAL_TOKENS // (body.n * len(body.temperature))
        changes["length"] = max(1, min(body.length, most))
    return body.model_copy(update=changes)


def _fit_to_text(body: GenerateRequest) -> GenerateRequest:
    """The request to a model of a text; what only items have is refused."""
    if body.prompt == "":
        raise Invalid(
            "prompt",
            body.prompt,
            "should have at least 1 character: this model was trained on one text, which has no "
            "items to begin. Give a prompt, or leave it out",
        )
    if body.n > MAX_TEXTS_PER_TEMPERATURE:
        raise Invalid(
            "n",
            body.n,
            f"should be less than or equal to {MAX_TEXTS_PER_TEMPERATURE}: only a model of items "
            f"writes up to {MAX_ITEMS_PER_TEMPERATURE:,}",
        )
    return body


def enqueue_score(session: Session, body: ScoreRequest) -> Creation:
    """Submit the score that a request asks for."""
    model = visible(session, Model, body.model, lock="use")
    _refuse_without_checkpoint(session, model, body.checkpoint)
    text = prompts.fit_to_vocabulary(
        body.text,
        model.vocabulary,
        lowercase=model.spec["lowercase"],
        unknown=body.unknown,
        normal_form=_normal_form(session, model),
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


def _submit_spec(
    session: Session,
    model: Model,
    name: str | None,
    spec: GenerateSpec,
    scheduling: SchedulingOptions | None = None,
) -> Creation:
    plain_spec = spec.model_dump(mode="json")
    submission = Submission(
        "generate", current_user().id, name or model.name, plain_spec, model.id, model.corpus_id
    )
    return submit(session, submission, scheduling)


def _fit_prompt(session: Session, model: Model, body: GenerateRequest) -> str | None:
    if not body.prompt:
        return body.prompt
    return prompts.fit_to_vocabulary(
        body.prompt,
        model.vocabulary,
        lowercase=model.spec["lowercase"],
        unknown=body.unknown,
        normal_form=_normal_form(session, model),
        by_words=model.spec["tokenizer"] == "word",
    )


def _fit_stops(session: Session, model: Model, body: GenerateRequest) -> list[str]:
    """The stop strings as the model would write them. One that it can't write is refused."""
    form = _normal_form(session, model) if body.stop else None
    return [
        prompts.fit_to_vocabulary(
            stop,
            model.vocabulary,
            lowercase=model.spec["lowercase"],
            unknown="error",
            normal_form=form,
            field="stop",
        )
        for stop in body.stop
    ]


def _normal_form(session: Session, model: Model) -> str | None:
    """The form that accented letters have in the model's corpus, if they have one."""
    return session.scalar(select(Corpus.normal_form).where(Corpus.id == model.corpus_id))


def _refuse_if_too_large(body: GenerateRequest) -> None:
    texts = body.n * len(body.temperature)
    tokens = body.length * texts
    if tokens > MAX_TOTAL_TOKENS:
        raise Invalid(
            "length",
            body.length,
            f"too many tokens in all ({texts} texts of {body.length:,} are {tokens:,}; one job "
            f"may write {MAX_TOTAL_TOKENS:,}). Lower length to {MAX_TOTAL_TOKENS // texts}, or "
            "ask for fewer texts",
        )
    if body.logprobs and tokens > MAX_LOGPROBS:
        raise Invalid(
            "logprobs",
            True,
            f"too many tokens in all ({tokens:,}; one job may return the log-probabilities of "
            f"{MAX_LOGPROBS:,}). Ask for fewer tokens, or leave logprobs out",
        )


def _refuse_if_too_large_to_load(session: Session, model: Model, checkpoint_id: str) -> None:
    size = session.scalar(select(Checkpoint.size_bytes).where(Checkpoint.id == checkpoint_id)) or 0
    needed, limit = LOAD_COPIES * size, services().settings.generate_memory_bytes
    if needed > limit:
        raise NetworkTooLarge(
            "model",
            model.id,
            f"its network needs {needed:,} bytes to load, and a worker may use {limit:,} "
            "(QUIRE_GENERATE_MEMORY_BYTES). Train a smaller one, or ask the server's admin",
        )


def _follows_training(session: Session, model: Model, body: GenerateRequest) -> bool:
    """Return whether the job waits for the model's training, which will have a checkpoint."""
    if body.after is None or body.checkpoint.lower() not in ("best", "latest"):
        return False
    job = own_job(session, body.after)
    return job.kind == "train" and job.model_id == model.id


def _refuse_without_checkpoint(session: Session, model: Model, reference: str) -> None:
    connection = session.connection()
    checkpoint_id = resolve(connection, model.id, reference.lower(), use=True)
    if checkpoint_id is not None:
        _refuse_if_too_large_to_load(session, model, checkpoint_id)
        return
    if resolve(connection, model.id, "latest") is not None:
        raise NotFound(f"checkpoint of model {model.name!r}", reference)
    job = session.scalar(
        select(Job).where(
            Job.model_id == model.id, Job.kind == "train", Job.user_id == current_user().id
        )
    )
    if job is None:
        raise NoCheckpointYet(
            f"model {model.name!r} has no checkpoint. Wait for its training to store one"
        )
    advice = (
        "Train again"
        if job.status in TERMINAL_STATUSES
        else "Wait for its first epoch, or set `after` to this job"
    )
    raise NoCheckpointYet(
        f"model {model.name!r} has no checkpoint, and its training job {job.id} is {job.status}. "
        f"{advice}"
    )
