"""The ids of models here are names that people can type.

``name`` is an own model, ``owner/name`` one of somebody else. Of several with one name the newest
bears it. A model whose name has ``/`` or ``@``, or looks like an id, answers by its id alone, as
do the older ones. ``@best``, ``@latest`` or ``@`` and a step name a checkpoint.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Literal

from sqlalchemy import Row, Select, bindparam, select
from sqlalchemy.orm import Session

from api.openai.errors import NoSuchModel
from api.permissions import current_user, visible_to
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
    return _name(session, _visible())


def names_of(session: Session, models: Collection[str]) -> dict[str, str]:
    """Return the ids here of those models that the current user may see, by their own."""
    same_names = select(Model.name).where(Model.id.in_(models))
    of_same_names = _visible().where(Model.name.in_(same_names))
    return {found.model.id: found.id for found in _name(session, of_same_names)}


def _name(session: Session, statement: Select[Model, str]) -> Iterator[NamedModel]:
    """Yield the models of a statement that leaves out no model of the same name."""
    user, taken = current_user(), set[str]()
    for model, owner in session.execute(statement, {"user_id": user.id}):
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
    found = _find(session, name)
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


#: What a reference may be: an id, the name of an own model, or an owner and a name.
Reference = Literal["id", "own", "owned"]


@cache
def _visible() -> Select[Model, str]:
    """Build the statement for the models that `user_id` may see, newest first."""
    return (
        select(Model, User.name)
        .join(User, Model.user_id == User.id)
        .where(visible_to(Model, bindparam("user_id")))
        .order_by(Model.id.desc())
    )


@cache
def _referred(kind: Reference) -> Select[Model, str]:
    """Build the statement for the newest of the visible models that a reference may mean."""
    # Once: building it takes longer than it runs, and a text waits for it.
    name, user_id = Model.name == bindparam("name"), Model.user_id == bindparam("user_id")
    conditions = {
        "id": (Model.id == bindparam("name"),),
        "own": (name, user_id),
        "owned": (name, User.name == bindparam("owner")),
    }
    return _visible().where(*conditions[kind]).limit(1)


def _find(session: Session, name: str) -> Row[Model, str] | None:
    values = {"user_id": current_user().id}
    if _UUID.fullmatch(name):
        return session.execute(_referred("id"), values | {"name": name.lower()}).first()
    owner, slash, rest = name.partition("/")
    name = rest if slash else name
    if not _is_speakable(name):
        return None
    if slash:
        return session.execute(_referred("owned"), values | {"owner": owner, "name": name}).first()
    return session.execute(_referred("own"), values | {"name": name}).first()


def _is_speakable(name: str) -> bool:
    return not ("/" in name or "@" in name or _UUID.fullmatch(name))
