"""Random prompts and nearest items: whether a user may be shown pieces of a model's corpus."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from api.errors import Invalid
from api.permissions import CurrentUser, may_show_excerpts
from shared.tables import Model


def refuse_random_prompt(session: Session, model_id: str, user: CurrentUser) -> None:
    """Refuse a generation that would start from a piece of a corpus that is not shown.

    A few of them would otherwise give a small private corpus away as a whole.

    Raises:
        Invalid: The owner of the model's corpus keeps it private, or the model was imported.
    """
    if session.scalar(select(Model.corpus_id).where(Model.id == model_id)) is None:
        raise Invalid(
            "prompt",
            None,
            "required: this model was imported, and the corpus that a random prompt would come "
            "from is not on this server. Give a prompt",
        )
    if not may_show_excerpts(session, model_id, user):
        raise Invalid(
            "prompt",
            None,
            "required: the corpus of this model is private, and its owner does not allow random "
            "prompts from it (`allow_excerpts`). Give a prompt, or ask the owner",
        )


def refuse_nearest(session: Session, model_id: str, user: CurrentUser) -> None:
    """Refuse a generation that would tell items of a corpus that is not shown.

    Raises:
        Invalid: The owner of the model's corpus keeps it private.
    """
    if not may_show_excerpts(session, model_id, user):
        raise Invalid(
            "nearest",
            True,
            "not possible: the corpus of this model is private, and its owner does not allow "
            "pieces of it to be shown (`allow_excerpts`). Leave it out, or ask the owner",
        )
