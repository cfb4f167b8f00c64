"""Who may see and change what. All access rules are in this module.

Another user's private resources return 404, exactly like missing ones, because the same
statement looks both up. An admin manages users, keys and devices, and sees no more of other
users' resources than anybody else.
"""

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from typing import Literal, TypeVar

from flask import g
from sqlalchemy import ColumnElement, Select, bindparam, or_, select
from sqlalchemy.orm import Session, undefer

from api.errors import Forbidden, NotFound
from shared import sessions
from shared.accounts import is_valid_key
from shared.tables import Checkpoint, Corpus, GeneratedText, Job, Model

Shareable = TypeVar("Shareable", Corpus, Model)
Lock = Literal["change", "use"]

_OWN_JOB = select(Job).where(Job.id == bindparam("id"), Job.user_id == bindparam("user_id"))
_NAMES: dict[type, str] = {Corpus: "corpus", Model: "model"}


@dataclass(frozen=True, slots=True)
class CurrentUser:
    """The owner of the API key that came with the request, or with which its session began.

    Attributes:
        session: The id of the browser's session; None if the request itself has a key.
    """

    id: str
    name: str
    role: str
    key_prefix: str
    session: str | None = None

    @property
    def is_admin(self) -> bool:
        """Whether the user manages users, keys and devices. It opens no private resources."""
        return self.role == "admin"


def current_user() -> CurrentUser:
    """Return the user who sent this request."""
    user: CurrentUser = g.current_user
    return user


def has_valid_key(session: Session) -> bool:
    """Return whether the key of this request is still valid.

    A request that lasts looks again each time before it tells something new.
    """
    user, connection = current_user(), session.connection()
    if user.session is not None and not sessions.is_live(connection, user.session):
        return False
    return is_valid_key(connection, user.key_prefix)


def require_admin() -> CurrentUser:
    """Return the current user, who must be an admin.

    Raises:
        Forbidden: The user is not an admin.
    """
    user = current_user()
    if not user.is_admin:
        raise Forbidden(f"this needs an admin, and {user.name} is a {user.role}")
    return user


def may_see(table: type[Corpus] | type[Model], user: CurrentUser) -> ColumnElement[bool]:
    """Return the condition that a row belongs to the user or is shared with everybody."""
    return or_(table.user_id == user.id, table.visibility == "server")


def digests_of_visible(session: Session, corpora: Collection[str]) -> dict[str, str]:
    """Return the SHA-256 of those corpora that the current user may see, by id.

    A reply shows the id of a corpus only if it is among them: a shared model, its texts and their
    jobs don't tell which private corpus it was trained on.
    """
    if not corpora:
        return {}
    seen = select(Corpus.id, Corpus.sha256).where(
        Corpus.id.in_(corpora), may_see(Corpus, current_user())
    )
    return dict(session.execute(seen).all())


def may_show_excerpts(session: Session, model: Model) -> bool:
    """Return whether the current user may be shown pieces of a model's corpus."""
    statement = select(Model.id).outerjoin(Corpus, Model.corpus_id == Corpus.id)
    shown = statement.where(Model.id == model.id, _shows_excerpts(current_user()))
    return session.scalar(shown) is not None


def jobs_that_show_excerpts(session: Session, jobs: Collection[str]) -> set[str]:
    """Return those jobs of the current user whose texts may tell where in the corpus they copy."""
    statement = (
        select(Job.id)
        .outerjoin(Corpus, Job.corpus_id == Corpus.id)
        .outerjoin(Model, Job.model_id == Model.id)
        .where(Job.id.in_(jobs), _shows_excerpts(current_user()))
    )
    return set(session.scalars(statement))


def _shows_excerpts(user: CurrentUser) -> ColumnElement[bool]:
    """Return the condition on a corpus and a model trained on it.

    Whoever trained the model could read the corpus.
    """
    return or_(may_see(Corpus, user), Corpus.allow_excerpts, Model.user_id == user.id)


def visible(
    session: Session, table: type[Shareable], reference: str, lock: Lock | None = None
) -> Shareable:
    """Load a corpus or a model that the current user may see.

    Args:
        session: The session to load it in.
        table: `Corpus` or `Model`.
        reference: The id from the request.
        lock: ``use`` blocks its deletion until the commit, ``change`` its use as well.

    Raises:
        NotFound: It does not exist, or the user may not see it.
    """
    values = {"id": as_id(_NAMES[table], reference), "user_id": current_user().id}
    row: Shareable | None = session.scalar(_select_visible(table, lock), values)
    if row is None:
        raise NotFound(_NAMES[table], reference)
    return row


@cache
def _select_visible(table: type[Shareable], lock: Lock | None) -> Select[Shareable]:
    """Build the statement for a corpus or a model by `id`, if `user_id` may see it."""
    condition = or_(table.user_id == bindparam("user_id"), table.visibility == "server")
    statement = select(table).where(table.id == bindparam("id"), condition)
    if lock is None:
        return statement
    if lock == "use" and table is Model:
        # A generation reads the vocabulary next.
        statement = statement.options(undefer(Model.vocabulary))
    return statement.with_for_update(read=lock == "use", key_share=lock == "use", of=table)


def own(session: Session, table: type[Shareable], reference: str) -> Shareable:
    """Load a corpus or a model that the current user owns, and lock it until the commit.

    Raises:
        NotFound: It does not exist, or the user may not see it.
        Forbidden: The user may see it but does not own it.
    """
    row = visible(session, table, reference, lock="change")
    if row.user_id != current_user().id:
        raise Forbidden(
            f"this {_NAMES[table]} belongs to another user. Only its owner may change it"
        )
    return row


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
