"""Submit a generation or a score: resolve its spec, and create its job."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from sqlalchemy import select
from sqlalchemy.orm import Session

from api.errors import Invalid, NetworkTooLarge, NoCheckpointYet, NotFound
from api.http.idempotency import Creation
from api.operations import prompts
from api.operations.excerpts import refuse_random_prompt
from api.operations.submission import submit
from api.permissions import CurrentUser, corpus_as_shown, current_user, own_job, visible
from api.schemas.generation import MAX_LOGPROBS, MAX_TOTAL_TOKENS, GenerateRequest, ScoreRequest
from api.schemas.requests import SchedulingOptions
from api.services import services
from shared.checkpoint_aliases import find_checkpoint, resolve
from shared.queue.types import Submission
from shared.specs.generation import GenerateSpec
from shared.specs.seeds import new_seed
from shared.tables import TERMINAL_STATUSES, Job, Model

#: While a checkpoint is loaded, its bytes and its arrays are in memory.
LOAD_COPIES = 2


@dataclass(frozen=True, slots=True)
class UsableModel:
    """What a text needs of its model, which can't be deleted before the commit.

    Attributes:
        normal_form: The form that accented letters have in the corpus, if they have one.
        shows_corpus: Whether the user may see the corpus.
    """

    id: str
    name: str
    corpus_id: str
    vocabulary: str
    lowercase: bool
    by_words: bool
    normal_form: str | None
    shows_corpus: bool


@dataclass(frozen=True, slots=True)
class TextRequest:
    """A valid request for a generation or a score, before its model is looked up.

    Attributes:
        user: Who asks.
        model: The id from the request.
        checkpoint: ``best``, ``latest`` or an id.
        prompt: What the text continues, or what is scored; None for a piece of the corpus.
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
    """Return the current user's request for a score."""
    return TextRequest(
        current_user(),
        body.model,
        body.checkpoint.lower(),
        body.text,
        body.name,
        None,
        partial(_score_spec, body),
    )


def enqueue_text(session: Session, request: TextRequest, job_id: str) -> Creation:
    """Submit the generation or score that the current user asks for.

    Args:
        session: The session of the request.
        request: The request.
        job_id: The id of the new job.
    """
    model = usable_model(session, request)
    if not _follows_training(session, model, request):
        refuse_without_checkpoint(session, model, request)
    if request.prompt is None:
        refuse_random_prompt(session, model.id, request.user)
    return submit(session, request.submission(model), request.scheduling, job_id)


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
    )


def _generation_spec(body: GenerateRequest, model: UsableModel) -> GenerateSpec:
    return GenerateSpec(
        checkpoint=body.checkpoint.lower(),
        prompt=None if body.prompt is None else _fit_prompt(body.prompt, model, body),
        length=body.length,
        temperatures=body.temperature,
        top_k=body.top_k,
        top_p=body.top_p,
        n=body.n,
        seed=new_seed() if body.seed is None else body.seed,
        repetition_penalty=body.repetition_penalty,
        stop=[_fit_stop(stop, model) for stop in body.stop],
        echo=body.echo,
        logprobs=body.logprobs,
    )


def _score_spec(body: ScoreRequest, model: UsableModel) -> GenerateSpec:
    text = prompts.fit_to_vocabulary(
        body.text,
        model.vocabulary,
        lowercase=model.lowercase,
        unknown=body.unknown,
        normal_form=model.normal_form,
        field="text",
    )
    return GenerateSpec(
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


def _fit_prompt(prompt: str, model: UsableModel, body: GenerateRequest) -> str:
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


def _refuse_if_too_large_to_load(model: UsableModel, size_bytes: int) -> None:
    needed, limit = LOAD_COPIES * size_bytes, services().settings.generate_memory_bytes
    if needed > limit:
        raise NetworkTooLarge(
            "model",
            model.id,
            f"its network needs {needed:,} bytes to load, and a worker may use {limit:,} "
            "(QUIRE_GENERATE_MEMORY_BYTES). Train a smaller one, or ask the server's admin",
        )


def _follows_training(session: Session, model: UsableModel, request: TextRequest) -> bool:
    """Return whether the job waits for the model's training, which will have a checkpoint."""
    after = None if request.scheduling is None else request.scheduling.after
    if after is None or request.checkpoint not in ("best", "latest"):
        return False
    job = own_job(session, after)
    return job.kind == "train" and job.model_id == model.id


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
        _refuse_if_too_large_to_load(model, checkpoint.size_bytes)
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
