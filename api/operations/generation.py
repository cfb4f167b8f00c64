"""Submit a generation or a score: resolve its spec, and create its job."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from api.errors import Invalid, NetworkTooLarge, NoCheckpointYet, NotFound
from api.http.idempotency import Creation
from api.operations import prompts
from api.operations.corpus_storage import find_or_insert_corpus
from api.operations.excerpts import refuse_random_prompt
from api.operations.submission import submit
from api.permissions import current_user, own_job, visible
from api.schemas.fields import NAME_CHARACTERS
from api.schemas.generation import (
    MAX_LOGPROBS,
    MAX_PROMPT_CHARACTERS,
    MAX_TOTAL_TOKENS,
    GenerateRequest,
    ScoreRequest,
)
from api.schemas.requests import SchedulingOptions
from api.services import services
from shared.checkpoint_aliases import resolve
from shared.queue.types import Submission
from shared.scheduling import network_memory
from shared.scheduling.network_memory import check_network
from shared.specs.generation import CorpusFitting, GenerateSpec
from shared.specs.seeds import new_seed
from shared.tables import TERMINAL_STATUSES, Checkpoint, Corpus, Job, Model
from shared.texts.characters import NormalForm
from shared.texts.corpus_text import CorpusText
from shared.texts.decoding import normalise
from shared.texts.vocabulary import Fitting

#: The network predicts nothing before the first.
MIN_SCORED_CHARACTERS = 2


def enqueue_generation(session: Session, body: GenerateRequest) -> Creation:
    """Submit the generation that a request asks for."""
    _refuse_if_too_large(body)
    model = visible(session, Model, body.model, lock="use")
    training = _followed_training(session, model, body)
    if training is None:
        _refuse_without_checkpoint(session, model, body.checkpoint)
    elif training.estimate is not None:
        refuse_network(model, training.estimate["checkpoint_bytes"])
    if body.prompt is None:
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
    )
    return _submit_spec(session, model, body.name, spec, body)


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


def enqueue_score(session: Session, body: ScoreRequest, kept: CorpusText | None) -> Creation:
    """Submit the score that a request asks for.

    Args:
        session: The session of the request.
        body: The request.
        kept: From `text_to_keep`; its bytes are stored.
    """
    model = visible(session, Model, body.model, lock="use")
    _refuse_without_checkpoint(session, model, body.checkpoint)
    form = _normal_form(session, model)
    if kept is not None:
        name = f"scored by {model.name}"[:NAME_CHARACTERS]
        corpus = find_or_insert_corpus(session, name, kept)
    elif body.corpus is not None:
        corpus = visible(session, Corpus, body.corpus, lock="use")
    else:
        text = prompts.fit_to_vocabulary(
            body.text or "",
            model.vocabulary,
            lowercase=model.spec["lowercase"],
            unknown=body.unknown,
            normal_form=form,
            field="text",
        )
        return _submit_spec(session, model, body.name, _score_spec(body, prompt=text))
    fitting = CorpusFitting(unknown=body.unknown, normal_form=form)
    _refuse_unfit_corpus(model, corpus, body, fitting)
    spec = _score_spec(body, fitting=fitting)
    return _submit_spec(session, model, body.name, spec, corpus_id=corpus.id)


def _refuse_unfit_corpus(
    model: Model, corpus: Corpus, body: ScoreRequest, fitting: CorpusFitting
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
    lowercase = model.spec["lowercase"]
    fit = Fitting.to(
        model.vocabulary,
        lowercase=lowercase,
        unknown=fitting.unknown,
        normal_form=fitting.normal_form,
    )
    alphabet = corpus.alphabet_lowercase if lowercase else corpus.alphabet
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


def _submit_spec(
    session: Session,
    model: Model,
    name: str | None,
    spec: GenerateSpec,
    scheduling: SchedulingOptions | None = None,
    *,
    corpus_id: str | None = None,
) -> Creation:
    plain_spec = spec.model_dump(mode="json")
    submission = Submission(
        "generate",
        current_user().id,
        name or model.name,
        plain_spec,
        model.id,
        corpus_id or model.corpus_id,
    )
    return submit(session, submission, scheduling)


def _fit_prompt(session: Session, model: Model, body: GenerateRequest) -> str | None:
    if body.prompt is None:
        return None
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


def _normal_form(session: Session, model: Model) -> NormalForm | None:
    """The form that accented letters have in the model's corpus, if they have one."""
    form: NormalForm | None = session.scalar(
        select(Corpus.normal_form).where(Corpus.id == model.corpus_id)
    )
    return form


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


def refuse_network(model: Model, checkpoint_bytes: int) -> None:
    """Refuse a network that no worker could load.

    Raises:
        NetworkTooLarge: Loading it would take more memory than a worker has.
    """
    try:
        check_network(checkpoint_bytes, services().settings.generate_memory_bytes)
    except network_memory.NetworkTooLarge as error:
        advice = "Train a smaller one, or ask the server's admin"
        raise NetworkTooLarge("model", model.id, f"{error}. {advice}") from None


def refuse_network_of(session: Session, model: Model, reference: str) -> None:
    """Refuse a checkpoint of a model, as `refuse_network` does; one that is gone is left alone."""
    checkpoint_id = resolve(session.connection(), model.id, reference)
    if checkpoint_id is not None:
        size = select(Checkpoint.size_bytes).where(Checkpoint.id == checkpoint_id)
        refuse_network(model, session.scalar(size) or 0)


def _followed_training(session: Session, model: Model, body: GenerateRequest) -> Job | None:
    """Return the model's training if the job waits for it: it will have a checkpoint."""
    if body.after is None or body.checkpoint.lower() not in ("best", "latest"):
        return None
    job = own_job(session, body.after)
    return job if job.kind == "train" and job.model_id == model.id else None


def _refuse_without_checkpoint(session: Session, model: Model, reference: str) -> None:
    connection = session.connection()
    checkpoint_id = resolve(connection, model.id, reference.lower(), use=True)
    if checkpoint_id is not None:
        refuse_network_of(session, model, checkpoint_id)
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
