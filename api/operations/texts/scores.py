"""Submit a score: of a text, or of a corpus."""

from functools import partial

from sqlalchemy.orm import Session

from api.errors import Invalid
from api.http.idempotency import Creation
from api.operations.library.corpus_storage import find_or_insert_corpus
from api.operations.submission import submit
from api.operations.texts import prompts
from api.operations.texts.text_requests import TextRequest, UsableModel, usable_model
from api.operations.texts.usable_checkpoints import refuse_without_checkpoint
from api.permissions import CurrentUser, current_user, visible
from api.schemas.fields import NAME_CHARACTERS
from api.schemas.generation import MAX_LOGPROBS, MAX_PROMPT_CHARACTERS, ScoreRequest
from shared.queue.types import Submission
from shared.specs.generation import CorpusFitting, GenerateSpec
from shared.tables import Corpus
from shared.texts.corpus_text import CorpusText
from shared.texts.decoding import normalise
from shared.texts.vocabulary import Fitting

#: The network predicts nothing before the first.
MIN_SCORED_CHARACTERS = 2


def score_request(body: ScoreRequest, user: CurrentUser) -> TextRequest:
    """Return a user's request for a score.

    Of a text that `text_to_keep` returns, and of a corpus, it is submitted by
    `enqueue_corpus_score`.
    """
    return TextRequest(
        user,
        body.model,
        body.checkpoint.lower(),
        body.text,
        body.name,
        None,
        partial(_text_score_spec, body),
    )


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
    request = score_request(body, current_user())
    model = usable_model(session.connection(), request)
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
