"""Where a checkpoint or a text comes from, as far as the caller may see it."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from api.permissions import may_see, current_user
from api.schemas.texts import LineageReply
from shared.tables import Checkpoint, Corpus, GeneratedText, Model


def of_checkpoint(session: Session, checkpoint: Checkpoint, model: Model) -> LineageReply:
    """The lineage of a checkpoint of a model that the caller may see."""
    return _lineage(session, model, checkpoint)


def of_text(session: Session, text: GeneratedText) -> LineageReply:
    """The lineage of a text of the caller's.

    One that a training sampled knows its training and step itself: between two validations it
    has no checkpoint, and its own may be retired.
    """
    model = session.scalar(select(Model).where(Model.id == text.model_id, may_see(Model, current_user())))
    checkpoint = None
    if model is not None and text.checkpoint_id is not None:
        checkpoint = session.get(Checkpoint, text.checkpoint_id)
    lineage = _lineage(session, model, checkpoint)
    if text.requested:
        return lineage
    return lineage.model_copy(update={"job": text.job_id, "step": text.step})


def _lineage(session: Session, model: Model | None, checkpoint: Checkpoint | None) -> LineageReply:
    corpus = None
    if model is not None:
        corpus = session.scalar(
            select(Corpus).where(Corpus.id == model.corpus_id, may_see(Corpus, current_user()))
        )
    mine = model is not None and model.user_id == current_user().id
    return LineageReply(
        corpus=None if corpus is None else corpus.id,
        corpus_sha256=None if corpus is None else corpus.sha256,
        job=checkpoint.job_id if checkpoint is not None and mine else None,
        model=None if model is None else model.id,
        checkpoint=None if checkpoint is None else checkpoint.id,
        step=None if checkpoint is None else checkpoint.step,
        checkpoint_sha256=None if checkpoint is None else checkpoint.sha256,
        digest=None if checkpoint is None else checkpoint.digest,
        exact=None if checkpoint is None else checkpoint.exact,
        from_checkpoint=model.from_checkpoint_id if model is not None and mine else None,
    )
