"""Submit a generation or a score: resolve its spec, and create its job."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from api.errors import Invalid, NetworkTooLarge, NoCheckpointYet, NotFound
from api.http.idempotency import Creation
from api.operations import prompts
from api.operations.corpus_storage import find_or_insert_corpus
from api.operations.excerpts import refuse_random_prompt
from api.operations.submission import submit
from api.permissions import CurrentUser, corpus_as_shown, current_user, own_job, visible
from api.schemas.fields import NAME_CHARACTERS
from api.schemas.generation import (
    MAX_ITEMS_PER_TEMPERATURE,
    MAX_LOGPROBS,
    MAX_PROMPT_CHARACTERS,
    MAX_TEXTS_PER_TEMPERATURE,
    MAX_TOTAL_TOKENS,
    GenerateRequest,
    NextRequest,
    ScoreRequest,
)
from api.schemas.requests import SchedulingOptions
from api.services import services
from shared.checkpoint_aliases import find_checkpoint, resolve
from shared.queue.types import Submission
from shared.scheduling import network_memory
from shared.scheduling.network_memory import check_network
from shared.specs.generation import CorpusFitting, GenerateSpec, NextSpec
from shared.specs.seeds import new_seed
from shared.tables import TERMINAL_STATUSES, Checkpoint, Corpus, Job, Model
from shared.texts.characters import NormalForm
from shared.texts.corpus_text import CorpusText
from shared.texts.decoding import normalise
from shared.texts.vocabulary import Fitting

#: The network predicts nothing before the first.
MIN_SCORED_CHARACTERS = 2


@dataclass(frozen=True, slots=True)
class UsableModel:
    """What a text needs of its model, which can't be deleted before the commit.

    Attributes:
        normal_form: The form that accented letters have in the corpus, if they have one.
        shows_corpus: Whether the user may see the corpus.
        writes_items: Whether it learnt a list, of which it writes items.
    """

    id: str
    name: str
    corpus_id: str
    vocabulary: str
    lowercase: bool
    by_words: bool
    normal_form: NormalForm | None
    shows_corpus: bool
    writes_items: bool


@dataclass(frozen=True, slots=True)
class TextRequest:
    """A valid request for a generation or a score, before its model is looked up.

    Attributes:
        user: Who asks.
        model: The id from the request.
        checkpoint: ``best``, ``latest`` or an id.
        prompt: What the text continues, or what is scored; None for a piece of the corpus, or for
            an item's beginning.
        make_spec: Makes the spec, given the model; raises `Invalid` if they don't fit.
    """

    user: CurrentUser
    model: str
    checkpoint: str
    prompt: str | None
    name: str | None
    scheduling: SchedulingOptions | None
    make_spec: Callable[[UsableModel], GenerateSpec]

    def submission(self, model: UsableModel) -> Submission:
        """Return the job that the request asks for."""
        spec = self.make_spec(model).model_dump(mode="json")
        return Submission(
            "generate", self.user.id, self.name or model.name, spec, model.id, model.corpus_id
        )


def generation_request(body: GenerateRequest) -> TextRequest:
    """Return the current user's request for a generation.

    Raises:
        Invalid: It asks for too many tokens.
    """
    if "length" in body.model_fields_set:
        _refuse_if_too_large(body)
    return TextRequest(
        current_user(),
        body.model,
        body.checkpoint.lower(),
        body.prompt,
        body.name,
        body,
        partial(_generation_spec, body),
    )


def score_request(body: ScoreRequest) -> TextRequest:
    """Return the current user's request for a score.

    Of a text that `text_to_keep` returns, and of a corpus, it is submitted by
    `enqueue_corpus_score`.
    """
    return TextRequest(
        current_user(),
        body.model,
        body.checkpoint.lower(),
        body.text,
        body.name,
        None,
        partial(_text_score_spec, body),
    )


def next_request(body: NextRequest) -> TextRequest:
    """Return the current user's request for the tokens that may follow a prompt."""
    return TextRequest(
        current_user(),
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
    model = usable_model(session, request)
    training = _followed_training(session, model, request)
    if training is None:
        refuse_without_checkpoint(session, model, request)
    elif training.estimate is not None:
        _refuse_network(model.id, training.estimate["checkpoint_bytes"])
    if request.prompt is None and not model.writes_items:
        refuse_random_prompt(session, model.id, request.user)
    return submit(session, request.submission(model), request.scheduling, job_id)


def text_to_keep(body: ScoreRequest) -> CorpusText | None:
    """Return the text of a score if it is too long for a job's row; None otherwise.

    Raises:
        Invalid: The request has neither a text nor a corpus, or both.
        RefusedText: The text can't be stored.
    """
    if body.text is None:
        if body.corpus is None:
            raise Invalid("text", None, "required, or a corpus to score. Give one of them")
        return None
    if body.corpus is not None:
        raise Invalid("corpus", body.corpus, "not allowed with a text. Give one of them")
    return normalise(body.text) if len(body.text) > MAX_PROMPT_CHARACTERS else None


def enqueue_corpus_score(
    session: Session, body: ScoreRequest, kept: CorpusText | None, job_id: str
) -> Creation:
    """Submit the score of a corpus, or of a text that is kept as one.

    Args:
        session: The session of the request.
        body: The request.
        kept: From `text_to_keep`; its bytes are stored.
        job_id: The id of the new job.
    """
    request = score_request(body)
    model = usable_model(session, request)
    refuse_without_checkpoint(session, model, request)
    if kept is not None:
        name = f"scored by {model.name}"[:NAME_CHARACTERS]
        corpus = find_or_insert_corpus(session, name, kept)
    else:
        corpus = visible(session, Corpus, body.corpus or "", lock="use")
    fitting = CorpusFitting(unknown=body.unknown, normal_form=model.normal_form)
    _refuse_unfit_corpus(model, corpus, body, fitting)
    spec = _score_spec(body, fitting=fitting).model_dump(mode="json")
    name = body.name or model.name
    submission = Submission("generate", request.user.id, name, spec, model.id, corpus.id)
    return submit(session, submission, None, job_id)


def _refuse_unfit_corpus(
    model: UsableModel, corpus: Corpus, body: ScoreRequest, fitting: CorpusFitting
) -> None:
    """Refuse a corpus that can't be scored, where that is known before it is read."""
    field, value = ("text", None) if body.corpus is None else ("corpus", corpus.id)
    if corpus.characters < MIN_SCORED_CHARACTERS:
        raise Invalid(field, value, "has one character. Score a text of at least two")
    if body.logprobs and corpus.characters > MAX_LOGPROBS:
        raise Invalid(
            "logprobs",
            True,
            f"too many tokens ({corpus.characters:,} characters; one job may return the "
            f"log-probabilities of {MAX_LOGPROBS:,}). Score a part, or leave logprobs out",
        )
    fit = Fitting.to(
        model.vocabulary,
        lowercase=model.lowercase,
        unknown=fitting.unknown,
        normal_form=fitting.normal_form,
    )
    alphabet = corpus.alphabet_lowercase if model.lowercase else corpus.alphabet
    unknown = fit.never_fits(alphabet)
    if unknown is not None:
        ways = ["score another text", 'set unknown to "skip" or "replace"']
        raise Invalid(
            field,
            value,
            f"has the character {unknown!r} (U+{ord(unknown):04X}), which is not in the model's "
            f"vocabulary. {' or '.join(ways).capitalize()}",
            code="unknown_character",
            ways=ways,
        )


def usable_model(session: Session, request: TextRequest) -> UsableModel:
    """Load the model of a request, and protect it from deletion until the commit.

    Raises:
        NotFound: It does not exist, or the user may not see it.
    """
    model = visible(session, Model, request.model, lock="use", user=request.user)
    corpus = corpus_as_shown(session, model.corpus_id, request.user)
    return UsableModel(
        model.id,
        model.name,
        model.corpus_id,
        model.vocabulary,
        lowercase=model.spec["lowercase"],
        by_words=model.spec["tokenizer"] == "word",
        normal_form=None if corpus is None else corpus.normal_form,
        shows_corpus=corpus is not None and corpus.is_visible,
        writes_items=bool(model.spec.get("items")),
    )


def _generation_spec(body: GenerateRequest, model: UsableModel) -> GenerateSpec:
    body = _fit_to_items(body) if model.writes_items else _fit_to_text(body)
    _refuse_if_too_large(body)
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


def _text_score_spec(body: ScoreRequest, model: UsableModel) -> GenerateSpec:
    text = prompts.fit_to_vocabulary(
        body.text or "",
        model.vocabulary,
        lowercase=model.lowercase,
        unknown=body.unknown,
        normal_form=model.normal_form,
        field="text",
    )
    return _score_spec(body, prompt=text)


def _score_spec(
    body: ScoreRequest, *, prompt: str | None = None, fitting: CorpusFitting | None = None
) -> GenerateSpec:
    return GenerateSpec(
        checkpoint=body.checkpoint.lower(),
        prompt=prompt,
        length=0,
        temperatures=[1.0],
        top_k=None,
        top_p=None,
        n=1,
        seed=0,
        logprobs=body.logprobs,
        score=True,
        fitting=fitting,
    )


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


def refuse_network_of(session: Session, model_id: str, reference: str) -> None:
    """Refuse a checkpoint of a model that no worker could load; one that is gone is left alone.

    Raises:
        NetworkTooLarge: Loading it would take more memory than a worker has.
    """
    checkpoint_id = resolve(session.connection(), model_id, reference)
    if checkpoint_id is not None:
        size = select(Checkpoint.size_bytes).where(Checkpoint.id == checkpoint_id)
        _refuse_network(model_id, session.scalar(size) or 0)


def _refuse_network(model_id: str, checkpoint_bytes: int) -> None:
    try:
        check_network(checkpoint_bytes, services().settings.generate_memory_bytes)
    except network_memory.NetworkTooLarge as error:
        advice = "Train a smaller one, or ask the server's admin"
        raise NetworkTooLarge("model", model_id, f"{error}. {advice}") from None


def _followed_training(session: Session, model: UsableModel, request: TextRequest) -> Job | None:
    """Return the model's training if the job waits for it: it will have a checkpoint."""
    after = None if request.scheduling is None else request.scheduling.after
    if after is None or request.checkpoint not in ("best", "latest"):
        return None
    job = own_job(session, after)
    return job if job.kind == "train" and job.model_id == model.id else None


def refuse_without_checkpoint(session: Session, model: UsableModel, request: TextRequest) -> None:
    """Refuse a request for a checkpoint that is not there, or that no worker could load.

    Raises:
        NotFound: The model has no such checkpoint.
        NoCheckpointYet: It has none at all.
        NetworkTooLarge: The checkpoint takes more memory than a worker may use.
    """
    connection = session.connection()
    checkpoint = find_checkpoint(connection, model.id, request.checkpoint, use=True)
    if checkpoint is not None:
        _refuse_network(model.id, checkpoint.size_bytes)
        return
    if resolve(connection, model.id, "latest") is not None:
        raise NotFound(f"checkpoint of model {model.name!r}", request.checkpoint)
    job = session.scalar(
        select(Job).where(
            Job.model_id == model.id, Job.kind == "train", Job.user_id == request.user.id
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
