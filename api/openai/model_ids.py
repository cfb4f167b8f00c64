"""The ids of models here are names that people can type.

``name`` is an own model, ``owner/name`` one of somebody else. Of several with one name the newest
bears it. A model whose name has ``/`` or ``@``, or looks like an id, answers by its id alone, as
do the older ones. ``@best``, ``@latest`` or ``@`` and a step name a checkpoint.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from sqlalchemy import Select, false, select
from sqlalchemy.orm import Session

from api.openai.errors import NoSuchModel
from api.permissions import CurrentUser, current_user, may_see
from api.schemas.fields import UUID_PATTERN
from shared.tables import Checkpoint, Model, User

_UUID = re.compile(UUID_PATTERN)
_CHECKPOINT = re.compile(r"best|latest|\d{1,9}")


@dataclass(frozen=True, slots=True)
class NamedModel:
    """A model that the current user may see.

    Attributes:
        id: Its id here.
        owner: The name of its owner.
        model: Its row.
        checkpoint: ``best``, ``latest`` or a checkpoint's id, to write with; None if the id names
            the model alone.
        created_at: When the model, or the checkpoint of a step, was created: in seconds.
    """

    id: str
    owner: str
    model: Model
    checkpoint: str | None
    created_at: int


def list_models(session: Session) -> Iterator[NamedModel]:
    """Yield the models that the current user may see, newest first."""
    return _name(session, _visible(current_user()))


def names_of(session: Session, models: Collection[str]) -> dict[str, str]:
    """Return the ids here of those models that the current user may see, by their own."""
    same_names = select(Model.name).where(Model.id.in_(models))
    of_same_names = _visible(current_user()).where(Model.name.in_(same_names))
    return {found.model.id: found.id for found in _name(session, of_same_names)}


def _name(session: Session, statement: Select[Model, str]) -> Iterator[NamedModel]:
    """Yield the models of a statement that leaves out no model of the same name."""
    user, taken = current_user(), set[str]()
    for model, owner in session.execute(statement):
        name = model.name if model.user_id == user.id else f"{owner}/{model.name}"
        if name in taken or not _is_speakable(model.name):
            name = model.id
        taken.add(name)
        yield NamedModel(name, owner, model, None, int(model.created_at.timestamp()))


def find_model(session: Session, reference: str) -> NamedModel:
    """Return the model, and the checkpoint, that an id means to the current user.

    Raises:
        NoSuchModel: There is none, or the user may not see it.
    """
    name, at, checkpoint = reference.rpartition("@")
    if not at or not _CHECKPOINT.fullmatch(checkpoint):
        name, checkpoint = reference, ""
    found = session.execute(_named(name).limit(1)).first()
    if found is None:
        raise NoSuchModel("model", reference)
    model, owner = found
    created_at, reached = model.created_at, checkpoint or None
    if checkpoint.isdigit():
        row = session.scalar(
            select(Checkpoint).where(
                Checkpoint.model_id == model.id, Checkpoint.step == int(checkpoint)
            )
        )
        if row is None:
            raise NoSuchModel("model", reference)
        created_at, reached = row.created_at, row.id
    return NamedModel(reference, owner, model, reached, int(created_at.timestamp()))


def _visible(user: CurrentUser) -> Select[Model, str]:
    return (
        select(Model, User.name)
        .join(User, Model.user_id == User.id)
        .where(may_see(Model, user))
        .order_by(Model.id.desc())
    )


def _named(name: str) -> Select[Model, str]:
    """Return the statement for the visible models that a name may mean, the best match first."""
    user = current_user()
    statement = _visible(user)
    if _UUID.fullmatch(name):
        return statement.where(Model.id == name.lower())
    owner, slash, rest = name.partition("/")
    name = rest if slash else name
    if not _is_speakable(name):
        return statement.where(false())
    owned = User.name == owner if slash else Model.user_id == user.id
    return statement.where(owned, Model.name == name)


def _is_speakable(name: str) -> bool:
    return not ("/" in name or "@" in name or _UUID.fullmatch(name))
