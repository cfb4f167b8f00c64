"""Refuse to delete a corpus or a model in use, without naming other users' resources."""

from sqlalchemy import ColumnElement, Select, func, or_, select
from sqlalchemy.orm import Session

from api.errors import ResourceInUse
from api.permissions import current_user
from shared.tables import TERMINAL_STATUSES, Checkpoint, Corpus, GeneratedText, Job, Model

MAX_NAMES = 3


def refuse_if_corpus_in_use(session: Session, corpus: Corpus) -> None:
    """Refuse to delete a corpus that a model or an unfinished job needs.

    Raises:
        ResourceInUse: The message says what needs it.
    """
    trained = select(Model.name, Model.user_id).where(
        Model.corpus_id == corpus.id, Model.deleted_at.is_(None)
    )
    reasons = [
        *_describe(session, trained, "model"),
        *_describe(session, _unfinished(Job.corpus_id == corpus.id), "unfinished job"),
    ]
    if reasons:
        raise ResourceInUse(
            f"corpus {corpus.name!r} is used by {' and '.join(reasons)}. Delete or cancel these "
            "first, or make the corpus private so that nobody else can use it"
        )


def refuse_to_purge_corpus(session: Session, corpus: Corpus) -> None:
    """Refuse to purge a corpus on which a model was trained that can be restored.

    Raises:
        ResourceInUse: The message says which.
    """
    trained = select(Model.name, Model.user_id).where(Model.corpus_id == corpus.id)
    reasons = _describe(session, trained, "deleted model")
    if reasons:
        raise ResourceInUse(
            f"corpus {corpus.name!r} can't be purged yet: {' and '.join(reasons)} can be restored "
            "and would need it. Purge these first, or delete the corpus without `purge`: it goes "
            "after them"
        )


def refuse_if_model_in_use(session: Session, model: Model) -> None:
    """Refuse to delete a model that an unfinished job or another user's text needs.

    Raises:
        ResourceInUse: The message says what needs it.
    """
    continued = select(Model.id).where(
        Model.from_checkpoint_id.in_(select(Checkpoint.id).where(Checkpoint.model_id == model.id))
    )
    needs_model = or_(Job.model_id == model.id, (Job.kind == "train") & Job.model_id.in_(continued))
    unfinished = _describe(session, _unfinished(needs_model), "unfinished job")
    if unfinished:
        raise ResourceInUse(
            f"model {model.name!r} is used by {' and '.join(unfinished)}. "
            "Cancel these first, or wait for them"
        )
    cited = session.scalar(
        select(func.count())
        .select_from(GeneratedText)
        .where(
            GeneratedText.model_id == model.id,
            GeneratedText.requested,
            GeneratedText.user_id != current_user().id,
        )
    )
    if cited:
        raise ResourceInUse(
            f"model {model.name!r} wrote texts of other users, which cite its checkpoints. "
            "Make the model private instead, so that nobody else can use it"
        )


def _unfinished(condition: ColumnElement[bool]) -> Select[str, str]:
    return select(Job.name, Job.user_id).where(condition, Job.status.not_in(TERMINAL_STATUSES))


def _describe(session: Session, statement: Select[str, str], resource: str) -> list[str]:
    # Name the current user's own, and only count those of others.
    rows = session.execute(statement).all()
    own = [name for name, user_id in rows if user_id == current_user().id]
    reasons = []
    if own:
        names = ", ".join(repr(name) for name in own[:MAX_NAMES])
        more = f" and {len(own) - MAX_NAMES} more" if len(own) > MAX_NAMES else ""
        reasons.append(f"your {_count(resource, len(own))} {names}{more}")
    if len(own) < len(rows):
        reasons.append(f"{_count(resource, len(rows) - len(own))} of other users")
    return reasons


def _count(resource: str, number: int) -> str:
    return resource if number == 1 else f"{number} {resource}s"
