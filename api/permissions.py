"""Who may see and change what: the one place.

What is private of somebody else's is looked for with the same statement as what does
not exist, and so answers the same. An admin manages users, keys and devices, and sees no
more of other people's texts than anybody.
"""

import uuid
from functools import cache
from typing import Literal, TypeVar

from sqlalchemy import ColumnElement, Select, bindparam, or_, select
from sqlalchemy.orm import Session, undefer

from api.authentication import Caller, caller
from api.errors import Forbidden, NotFound
from shared.tables import Checkpoint, Corpus, GeneratedText, Job, Model

Shared = TypeVar("Shared", Corpus, Model)
Lock = Literal["change", "use"]

_OWN_JOB = select(Job).where(Job.id == bindparam("id"), Job.user_id == bindparam("caller"))
_WORDS: dict[type, str] = {Corpus: "corpus", Model: "model"}


def may_see(table: type[Corpus] | type[Model], who: Caller) -> ColumnElement[bool]:
    """The condition that a row is the caller's own or everybody's."""
    return or_(table.user_id == who.id, table.visibility == "server")


def visible(
    session: Session, table: type[Shared], reference: str, lock: Lock | None = None
) -> Shared:
    """A corpus or a model that the caller may see.

    Args:
        session: Where it is looked for.
        table: `Corpus` or `Model`.
        reference: Its id, as somebody gave it.
        lock: ``use`` keeps it from being deleted until the commit, ``change`` from being used.

    Raises:
        NotFound: There is none, or none that they may see.
    """
    values = {"id": as_id(_WORDS[table], reference), "caller": caller().id}
    row: Shared | None = session.scalar(_visible(table, lock), values)
    if row is None:
        raise NotFound(_WORDS[table], reference)
    return row


@cache
def _visible(table: type[Shared], lock: Lock | None) -> Select[Shared]:
    """A corpus or a model by its `id`, where `caller` may see it."""
    mine = or_(table.user_id == bindparam("caller"), table.visibility == "server")
    statement = select(table).where(table.id == bindparam("id"), mine)
    if lock is None:
        return statement
    if lock == "use" and table is Model:
        # Whoever writes with a model asks for its characters next.
        statement = statement.options(undefer(Model.vocabulary))
    return statement.with_for_update(read=lock == "use", key_share=lock == "use", of=table)


def own(session: Session, table: type[Shared], reference: str) -> Shared:
    """A corpus or a model that the caller may change, locked until the commit.

    Raises:
        NotFound: There is none, or none that they may see.
        Forbidden: They may see it, and it is somebody else's.
    """
    row = visible(session, table, reference, lock="change")
    if row.user_id != caller().id:
        raise Forbidden(f"this {_WORDS[table]} is somebody else's: only its owner may change it")
    return row


def own_job(session: Session, reference: str) -> Job:
    """A job of the caller's; others' jobs are never seen.

    Raises:
        NotFound: They have none of that id.
    """
    values = {"id": as_id("job", reference), "caller": caller().id}
    row: Job | None = session.scalar(_OWN_JOB, values)
    if row is None:
        raise NotFound("job", reference)
    return row


def own_text(session: Session, reference: str) -> GeneratedText:
    """A text that the caller asked for.

    Raises:
        NotFound: They have none of that id.
    """
    row = session.scalar(
        select(GeneratedText).where(
            GeneratedText.id == as_id("text", reference), GeneratedText.user_id == caller().id
        )
    )
    if row is None:
        raise NotFound("text", reference)
    return row


def visible_checkpoint(
    session: Session, reference: str, *, use: bool = False
) -> tuple[Checkpoint, Model]:
    """A checkpoint of a model that the caller may see, and the model.

    Args:
        session: Where it is looked for.
        reference: Its id, as somebody gave it.
        use: Keep it from being deleted until the commit.

    Raises:
        NotFound: There is none, or none that they may see.
    """
    statement = (
        select(Checkpoint, Model)
        .join(Model, Checkpoint.model_id == Model.id)
        .where(Checkpoint.id == as_id("checkpoint", reference), may_see(Model, caller()))
    )
    if use:
        statement = statement.with_for_update(read=True, key_share=True, of=(Checkpoint, Model))
    row = session.execute(statement).one_or_none()
    if row is None:
        raise NotFound("checkpoint", reference)
    return row.Checkpoint, row.Model


def as_id(what: str, reference: str) -> str:
    """An id as the database writes it.

    Raises:
        NotFound: It has not the form of an id, and so names nothing.
    """
    try:
        return str(uuid.UUID(reference))
    except ValueError:
        raise NotFound(what, reference) from None
