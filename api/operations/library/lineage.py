"""The lineage of a checkpoint or a text, limited to what the current user may see."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from api.permissions import current_user, digests_of_visible, may_see
from api.schemas.texts import LineageReply
from shared.tables import Checkpoint, GeneratedText, Model


def of_checkpoint(session: Session, checkpoint: Checkpoint, model: Model) -> LineageReply:
    """Return the lineage of a checkpoint whose model the current user may see."""
    return _lineage(session, model, checkpoint)


def of_text(session: Session, text: GeneratedText) -> LineageReply:
    """Return the lineage of a text of the current user.

    A sample of a training stores its job and step itself: a sample between two validations has no
    checkpoint, and an old checkpoint may be deleted.
    """
    model = session.scalar(
        select(Model).where(Model.id == text.model_id, may_see(Model, current_user()))
    )
    checkpoint = None
    if model is not None and text.checkpoint_id is not None:
        checkpoint = session.get(Checkpoint, text.checkpoint_id)
    lineage = _lineage(session, model, checkpoint)
    if text.requested:
        return lineage
    return lineage.model_copy(update={"job": text.job_id, "step": text.step})


def _lineage(session: Session, model: Model | None, checkpoint: Checkpoint | None) -> LineageReply:
    corpora = {} if model is None else digests_of_visible(session, {model.corpus_id})
    corpus_id, corpus_sha256 = next(iter(corpora.items()), (None, None))
    is_owner = model is not None and model.user_id == current_user().id
    if model is not None and model.origin is not None and is_owner:
        corpus_sha256 = model.origin["corpus_sha256"]
    return LineageReply(
        corpus=corpus_id,
        corpus_sha256=corpus_sha256,
        job=checkpoint.job_id if checkpoint is not None and is_owner else None,
        model=None if model is None else model.id,
        checkpoint=None if checkpoint is None else checkpoint.id,
        step=None if checkpoint is None else checkpoint.step,
        checkpoint_sha256=None if checkpoint is None else checkpoint.sha256,
        digest=None if checkpoint is None else checkpoint.digest,
        exact=None if checkpoint is None else checkpoint.exact,
        from_checkpoint=model.from_checkpoint_id if model is not None and is_owner else None,
    )
