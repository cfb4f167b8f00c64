"""Finds what a request names; what its user may not see is answered like what is not there."""

import uuid
from collections.abc import Sequence
from functools import cache
from typing import Any, Literal, TypeVar

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    Select,
    and_,
    bindparam,
    select,
)
from sqlalchemy.orm import Session

from api.errors import (
    Forbidden,
    NotFound,
)
from api.permissions.current_user import CurrentUser, current_user
from api.permissions.visibility import may_see, shows_excerpts, visible_to
from shared.prepared import Prepared
from shared.tables import (
    Checkpoint,
    Corpus,
    GeneratedText,
    Job,
    Model,
)

Shareable = TypeVar("Shareable", Corpus, Model)
Lock = Literal["change", "use"]

_OWN_JOB = select(Job).where(Job.id == bindparam("id"), Job.user_id == bindparam("user_id"))
_NAMES: dict[type, str] = {Corpus: "corpus", Model: "model"}


def visible(
    session: Session,
    table: type[Shareable],
    reference: str,
    lock: Lock | None = None,
    user: CurrentUser | None = None,
) -> Shareable:
    """Load a corpus or a model that a user may see.

    Args:
        session: The session to load it in.
        table: `Corpus` or `Model`.
        reference: The id from the request.
        lock: ``use`` blocks its deletion until the commit, ``change`` its use as well.
        user: Who asks; the current user by default.

    Raises:
        NotFound: It does not exist, or the user may not see it.
    """
    values = {"id": as_id(_NAMES[table], reference), "user_id": (user or current_user()).id}
    row: Shareable | None = session.scalar(_select_visible(table, lock), values)
    if row is None:
        raise NotFound(_NAMES[table], reference)
    return row


def read_model_ahead(connection: Connection, model_id: str, user: CurrentUser) -> None:
    """Send what `model_for_use` will read."""
    _model_for_use().ahead(connection, {"id": model_id, "user_id": user.id})


def model_for_use(connection: Connection, reference: str, user: CurrentUser) -> Any:
    """Read what a text needs of a model, and block the model's deletion until the commit.

    Returns:
        Columns of `models`; the `normal_form` and the `characters` of its corpus, which are None
        if it is gone; and whether the user may see the corpus (`shows_corpus`).

    Raises:
        NotFound: It does not exist, or the user may not see it.
    """
    values = {"id": as_id("model", reference), "user_id": user.id}
    row = _model_for_use().first(connection, values)
    if row is None:
        raise NotFound("model", reference)
    return row


@cache
def _model_for_use() -> Prepared:
    user_id: BindParameter[str] = bindparam("user_id")
    columns = (Model.id, Model.name, Model.corpus_id, Model.vocabulary, Model.spec)
    shows_corpus = visible_to(Corpus, user_id).label("shows_corpus")
    return Prepared(
        select(*columns, Corpus.normal_form, Corpus.characters, shows_corpus)
        .outerjoin(Corpus, Model.corpus_id == Corpus.id)
        .where(Model.id == bindparam("id"), visible_to(Model, user_id))
        .with_for_update(read=True, key_share=True, of=Model)
    )


@cache
def _select_visible(table: type[Shareable], lock: Lock | None) -> Select[Shareable]:
    """Build the statement for a corpus or a model by `id`, if `user_id` may see it."""
    is_visible = visible_to(table, bindparam("user_id"))
    statement = select(table).where(table.id == bindparam("id"), is_visible)
    if lock is None:
        return statement
    return statement.with_for_update(read=lock == "use", key_share=lock == "use", of=table)


def own(
    session: Session, table: type[Shareable], reference: str, *, deleted: bool = False
) -> Shareable:
    """Load a corpus or a model that the current user owns, and lock it until the commit.

    Args:
        session: The session to load it in.
        table: `Corpus` or `Model`.
        reference: The id from the request.
        deleted: Find it even if it was deleted and can be restored.

    Raises:
        NotFound: It does not exist, or the user may not see it.
        Forbidden: The user may see it but does not own it.
    """
    if deleted:
        found = select(table).where(table.id == as_id(_NAMES[table], reference), own_deleted(table))
        again = session.scalar(found.with_for_update(of=table))
        if again is not None:
            return again
    row = visible(session, table, reference, lock="change")
    if row.user_id != current_user().id:
        raise Forbidden(
            f"this {_NAMES[table]} belongs to another user. Only its owner may change it"
        )
    return row


def own_deleted(table: type[Corpus] | type[Model]) -> ColumnElement[bool]:
    """Return the condition that a row is the current user's, and deleted."""
    return and_(table.user_id == current_user().id, table.deleted_at.is_not(None))


def own_job(session: Session, reference: str) -> Job:
    """Load a job of the current user. Nobody sees another user's jobs.

    Raises:
        NotFound: The user has no job with this id.
    """
    values = {"id": as_id("job", reference), "user_id": current_user().id}
    row: Job | None = session.scalar(_OWN_JOB, values)
    if row is None:
        raise NotFound("job", reference)
    return row


def own_job_as_shown(connection: Connection, reference: str) -> Any:
    """Read a job of the current user, with what the user may be shown of it.

    Returns:
        The columns of `jobs`; and whether the user may see the job's corpus (`shows_corpus`), and
        where in it a text copies (`shows_excerpts`); and whether its model was deleted
        (`model_deleted`).

    Raises:
        NotFound: The user has no job with this id.
    """
    job_id = as_id("job", reference)
    row = jobs_as_shown(connection, [job_id]).get(job_id)
    if row is None or row.user_id != current_user().id:
        raise NotFound("job", reference)
    return row


def jobs_as_shown(connection: Connection, ids: Sequence[str]) -> dict[str, Any]:
    """Read jobs, each with what its own user may be shown of it.

    Returns:
        Rows as `own_job_as_shown` returns them, by id.
    """
    return {row.id: row for row in _jobs_as_shown().all(connection, {"ids": list(ids)})}


@cache
def _jobs_as_shown() -> Prepared:
    return Prepared(
        select(
            *Job.__table__.columns,
            visible_to(Corpus, Job.user_id).label("shows_corpus"),
            shows_excerpts(Job.user_id).label("shows_excerpts"),
            Model.deleted_at.is_not(None).label("model_deleted"),
        )
        .select_from(Job)
        .outerjoin(Corpus, Job.corpus_id == Corpus.id)
        .outerjoin(Model, Job.model_id == Model.id)
        .where(Job.id.in_(bindparam("ids", expanding=True)))
    )


def own_text(session: Session, reference: str) -> GeneratedText:
    """Load a text of the current user.

    Raises:
        NotFound: The user has no text with this id.
    """
    row = session.scalar(
        select(GeneratedText).where(
            GeneratedText.id == as_id("text", reference),
            GeneratedText.user_id == current_user().id,
        )
    )
    if row is None:
        raise NotFound("text", reference)
    return row


def visible_checkpoint(
    session: Session, reference: str, *, use: bool = False
) -> tuple[Checkpoint, Model]:
    """Load a checkpoint and its model, which the current user may see.

    Args:
        session: The session to load them in.
        reference: The checkpoint's id from the request.
        use: Block the deletion of both until the commit.

    Raises:
        NotFound: It does not exist, or the user may not see its model.
    """
    statement = (
        select(Checkpoint, Model)
        .join(Model, Checkpoint.model_id == Model.id)
        .where(Checkpoint.id == as_id("checkpoint", reference), may_see(Model, current_user()))
    )
    if use:
        statement = statement.with_for_update(read=True, key_share=True, of=(Checkpoint, Model))
    row = session.execute(statement).one_or_none()
    if row is None:
        raise NotFound("checkpoint", reference)
    return row.Checkpoint, row.Model


def as_id(resource: str, reference: str) -> str:
    """Normalise an id to the form that the database stores.

    Raises:
        NotFound: It is not a UUID, so nothing can have it.
    """
    try:
        return str(uuid.UUID(reference))
    except ValueError:
        raise NotFound(resource, reference) from None
