"""What keeps a corpus or a model from being deleted, said without naming what is not yours."""

from sqlalchemy import ColumnElement, Select, func, or_, select
from sqlalchemy.orm import Session

from api.permissions import current_user
from api.errors import ResourceInUse
from shared.tables import TERMINAL_STATUSES, Checkpoint, Corpus, GeneratedText, Job, Model

NAMED = 3


def refuse_if_corpus_in_use(session: Session, corpus: Corpus) -> None:
    """Stop a deletion that would take a text from a model or from an unfinished job.

    Raises:
        ResourceInUse: Saying by what.
    """
    trained = select(Model.name, Model.user_id).where(Model.corpus_id == corpus.id)
    reasons = [
        *_who(session, trained, "model"),
        *_who(session, _unfinished(Job.corpus_id == corpus.id), "unfinished job"),
    ]
    if reasons:
        raise ResourceInUse(
            f"corpus {corpus.name!r} is needed by {' and '.join(reasons)}: delete or cancel "
            "these first, or make the corpus private to keep others from it"
        )


def refuse_if_model_in_use(session: Session, model: Model) -> None:
    """Stop a deletion that would take a network from a job, or from others' texts.

    Raises:
        ResourceInUse: Saying by what.
    """
    begun = select(Model.id).where(
        Model.from_checkpoint_id.in_(select(Checkpoint.id).where(Checkpoint.model_id == model.id))
    )
    needing = or_(Job.model_id == model.id, (Job.kind == "train") & Job.model_id.in_(begun))
    unfinished = _who(session, _unfinished(needing), "unfinished job")
    if unfinished:
        raise ResourceInUse(
            f"model {model.name!r} is needed by {' and '.join(unfinished)}: "
            "cancel these first, or wait for them"
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
            f"model {model.name!r} wrote texts that other users asked for, and these cite its "
            "checkpoints: make the model private instead, then nobody else can use it"
        )


def _unfinished(condition: ColumnElement[bool]) -> Select[str, str]:
    return select(Job.name, Job.user_id).where(condition, Job.status.not_in(TERMINAL_STATUSES))


def _who(session: Session, statement: Select[str, str], what: str) -> list[str]:
    # The names of what is the caller's, and only the number of what is somebody else's.
    rows = session.execute(statement).all()
    mine = [name for name, user_id in rows if user_id == current_user().id]
    reasons = []
    if mine:
        names = ", ".join(repr(name) for name in mine[:NAMED])
        more = f" and {len(mine) - NAMED} more" if len(mine) > NAMED else ""
        reasons.append(f"your {_count(what, len(mine))} {names}{more}")
    if len(mine) < len(rows):
        reasons.append(f"{_count(what, len(rows) - len(mine))} of other users")
    return reasons


def _count(what: str, number: int) -> str:
    return what if number == 1 else f"{number} {what}s"
