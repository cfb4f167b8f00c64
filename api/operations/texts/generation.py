"""Submit a generation: resolve its spec, and create its job."""

from functools import partial
from typing import Any

from sqlalchemy.orm import Session

from api.errors import Invalid
from api.http.idempotency import Creation
from api.operations.submission import submit
from api.operations.texts import prompts
from api.operations.texts.excerpts import refuse_nearest, refuse_random_prompt
from api.operations.texts.known_items import refuse_unknown_items
from api.operations.texts.text_requests import TextRequest, UsableModel, usable_model
from api.operations.texts.usable_checkpoints import (
    followed_training,
    refuse_network,
    refuse_without_checkpoint,
)
from api.permissions import CurrentUser
from api.schemas.generation import (
    MAX_ITEMS_PER_TEMPERATURE,
    MAX_LOGPROBS,
    MAX_TEXTS_PER_TEMPERATURE,
    MAX_TOTAL_TOKENS,
    GenerateRequest,
    NextRequest,
)
from shared.specs.generation import GenerateSpec, NextSpec
from shared.specs.seeds import new_seed


def generation_request(body: GenerateRequest, user: CurrentUser) -> TextRequest:
    """Return a user's request for a generation.

    Raises:
        Invalid: It asks for too many tokens.
    """
    if "length" in body.model_fields_set:
        _refuse_if_too_large(body)
    return TextRequest(
        user,
        body.model,
        body.checkpoint.lower(),
        body.prompt,
        body.name,
        body,
        partial(_generation_spec, body),
        body.nearest,
    )


def next_request(body: NextRequest, user: CurrentUser) -> TextRequest:
    """Return a user's request for the tokens that may follow a prompt."""
    return TextRequest(
        user,
        body.model,
        body.checkpoint.lower(),
        body.prompt,
        body.name,
        None,
        partial(_next_spec, body),
    )


def enqueue_text(session: Session, request: TextRequest, job_id: str) -> Creation:
    """Submit the generation or score that the current user asks for.

    Args:
        session: The session of the request.
        request: The request.
        job_id: The id of the new job.
    """
    model = usable_model(session.connection(), request)
    training = followed_training(session, model, request)
    if training is None:
        refuse_without_checkpoint(session, model, request)
    elif training.estimate is not None:
        refuse_network(model.id, training.estimate["checkpoint_bytes"])
    if request.prompt is None and not model.writes_items:
        refuse_random_prompt(session, model.id, request.user)
    if request.nearest:
        refuse_nearest(session, model.id, request.user)
    return submit(session, request.submission(model), request.scheduling, job_id)


def _generation_spec(body: GenerateRequest, model: UsableModel) -> GenerateSpec:
    body = _fit_to_items(body) if model.writes_items else _fit_to_text(body)
    _refuse_if_too_large(body)
    refuse_unknown_items(body, items=model.writes_items, characters=model.corpus_characters)
    return GenerateSpec(
        checkpoint=body.checkpoint.lower(),
        prompt=_fit_prompt(body.prompt, model, body) if body.prompt else body.prompt,
        length=body.length,
        temperatures=body.temperature,
        top_k=body.top_k,
        top_p=body.top_p,
        n=body.n,
        seed=new_seed() if body.seed is None else body.seed,
        repetition_penalty=body.repetition_penalty,
        stop=[_fit_stop(stop, model) for stop in body.stop],
        echo=body.echo,
        logprobs=body.logprobs or body.top_logprobs > 0,
        items=model.writes_items,
        top_logprobs=body.top_logprobs,
        copied_spans=body.copied_spans,
        only_new=body.only_new,
        nearest=body.nearest,
    )


def _next_spec(body: NextRequest, model: UsableModel) -> GenerateSpec:
    if not body.prompt and not model.writes_items:
        raise Invalid(
            "prompt",
            body.prompt,
            "should have at least 1 character: this model was trained on one text, which has no "
            "items to begin. Give a prompt",
        )
    return GenerateSpec(
        checkpoint=body.checkpoint.lower(),
        prompt=_fit_prompt(body.prompt, model, body) if body.prompt else body.prompt,
        length=1,
        temperatures=body.temperature,
        top_k=None,
        top_p=None,
        n=1,
        seed=0,
        items=model.writes_items,
        next=NextSpec(top=body.top),
    )


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


def _fit_prompt(prompt: str, model: UsableModel, body: GenerateRequest | NextRequest) -> str:
    return prompts.fit_to_vocabulary(
        prompt,
        model.vocabulary,
        lowercase=model.lowercase,
        unknown=body.unknown,
        normal_form=model.normal_form,
        by_words=model.by_words,
    )


def _fit_stop(stop: str, model: UsableModel) -> str:
    """A stop string as the model would write it. One that it can't write is refused."""
    return prompts.fit_to_vocabulary(
        stop,
        model.vocabulary,
        lowercase=model.lowercase,
        unknown="error",
        normal_form=model.normal_form,
        field="stop",
    )


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
    alternatives = tokens * body.top_logprobs
    if alternatives > MAX_LOGPROBS:
        raise Invalid(
            "top_logprobs",
            body.top_logprobs,
            f"too many in all ({body.top_logprobs} of {tokens:,} tokens are {alternatives:,}; one "
            f"job may return {MAX_LOGPROBS:,}). Ask for fewer, or for fewer tokens",
        )
