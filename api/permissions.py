"""Who may see and change what. All access rules are in this module.

Another user's private resources return 404, exactly like missing ones, because the same
statement looks both up. An admin manages users, keys and devices, and sees no more of other
users' resources than anybody else, and neither does a group's teacher.
"""

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, Literal, TypeVar

from flask import g
from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    Row,
    Select,
    and_,
    bindparam,
    exists,
    or_,
    select,
)
from sqlalchemy.orm import InstrumentedAttribute, Session, undefer

from api.errors import (
    INVALID_KEY,
    SESSION_ENDED,
    Forbidden,
    KeyExpired,
    MissingScope,
    NotFound,
    Unauthenticated,
)
from api.schemas.fields import Visibility
from shared import sessions
from shared.accounts import KeyRefused, in_order, refusal_of, scopes_of_role
from shared.groups import is_live, memberships_of
from shared.prepared import PreparedSelect
from shared.tables import (
    ApiKey,
    Checkpoint,
    Corpus,
    GeneratedText,
    Group,
    Job,
    Membership,
    Model,
    User,
)

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
    key_id: str
    key_prefix: str
    #: What both the key and the role allow.
    scopes: frozenset[str]
    key_expires_at: datetime | None
    #: The session of the browser that sent the request; None if a key came with it.
    session: str | None = None

    @property
    def is_admin(self) -> bool:
        """Whether the user manages users, keys and devices. It opens no private resources."""
        return self.role == "admin" and "admin" in self.scopes


def current_user() -> CurrentUser:
    """Return the user who sent this request."""
    user: CurrentUser = g.current_user
    return user


def check_key_again(session: Session) -> None:
    """Check that the key of this request is still valid.

    A request that lasts does so each time before it tells something new.

    Raises:
        Unauthenticated: It was revoked or has expired, or its owner was disabled.
    """
    user, connection = current_user(), session.connection()
    if user.session is not None and not sessions.is_live(connection, user.session):
        raise Unauthenticated(SESSION_ENDED)
    refused = refusal_of(connection, user.key_prefix)
    if refused is not None:
        raise unauthenticated(refused)


def unauthenticated(refused: KeyRefused) -> Unauthenticated:
    """Return the answer to a key that was refused. Only an expired one has an answer of its own."""
    if refused.expired_at is not None:
        return KeyExpired(refused.expired_at)
    return Unauthenticated(INVALID_KEY)


def require_scope(scope: str, user: CurrentUser) -> None:
    """Check that both the key and the role of a user allow something.

    Raises:
        Forbidden: No key of the user may have the scope.
        MissingScope: This key lacks it.
    """
    if scope in user.scopes:
        return
    if scope not in scopes_of_role(user.role):
        raise needs_admin(user)
    raise MissingScope(scope, user.key_prefix, in_order(user.scopes))


def require_admin() -> CurrentUser:
    """Return the current user, who must be an admin with a key that has the scope `admin`.

    Raises:
        Forbidden: The user is not an admin.
        MissingScope: The key lacks the scope.
    """
    user = current_user()
    require_scope("admin", user)
    return user


def needs_admin(user: CurrentUser) -> Forbidden:
    """Return the refusal of what only an admin may do."""
    return Forbidden(f"this needs an admin, and {user.name} is a {user.role}")


def may_manage_user(session: Session, user: User) -> bool:
    """Return whether the current user may disable and enable a user, and read their usage.

    An admin may. A teacher may if every live group of the user is one that they teach, and there
    is one: so nobody's teacher reaches an admin, another teacher, or a user whom another group
    shares. It opens none of the user's private resources.
    """
    caller = current_user()
    if caller.is_admin:
        return True
    if user.role == "admin" or user.id == caller.id:
        return False
    roles = memberships_of(session, user.id)
    taught = {
        group for group, role in memberships_of(session, caller.id).items() if role == "teacher"
    }
    return bool(roles) and "teacher" not in roles.values() and taught.issuperset(roles)


def may_enrol(session: Session, user: User) -> bool:
    """Return whether the current user may give a user a key or an enrolment link.

    Whoever has a user's key reads what is private of them. So a teacher may give a user whom they
    manage the first key only, when there is nothing to read yet.
    """
    if current_user().is_admin or not may_manage_user(session, user):
        return current_user().is_admin
    return session.scalar(select(ApiKey.id).where(ApiKey.user_id == user.id).limit(1)) is None


def may_see(table: type[Corpus] | type[Model], user: CurrentUser) -> ColumnElement[bool]:
    """Return the condition that a row is the user's, or is shared with them.

    It is shared with everybody, or with a live group that the user is in. Nobody sees what was
    deleted, not even its owner: only to have it back or to purge it is it looked up otherwise.
    """
    return _visible_to(table, user.id)


def _visible_to(
    table: type[Corpus] | type[Model], user_id: str | BindParameter[str]
) -> ColumnElement[bool]:
    shared_with_group = (
        select(Membership.user_id)
        .join(Group, Membership.group_id == Group.id)
        .where(Membership.group_id == table.group_id, Membership.user_id == user_id, is_live())
        .exists()
    )
    shared_with_user = or_(
        table.user_id == user_id,
        table.visibility == "server",
        and_(table.group_id.is_not(None), shared_with_group),
    )
    return and_(table.deleted_at.is_(None), shared_with_user)


def has_visibility(
    table: type[Corpus] | type[Model], visibility: Visibility
) -> ColumnElement[bool]:
    """Return the condition that a row is `private`, or shared with a `group` or the `server`."""
    if visibility == "server":
        return table.visibility == "server"
    with_group = table.group_id.is_not(None) if visibility == "group" else table.group_id.is_(None)
    return and_(table.visibility == "private", with_group)


def visibility_of(row: Corpus | Model) -> Visibility:
    """Return with whom a row is shared, as its replies say it."""
    if row.visibility == "server":
        return "server"
    return "private" if row.group_id is None else "group"


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


def not_of_deleted_model(model_id: InstrumentedAttribute[Any]) -> ColumnElement[bool]:
    """Return the condition that a job or a text is not of a model that was deleted."""
    return ~exists().where(Model.id == model_id, Model.deleted_at.is_not(None))


def deleted_models(session: Session, models: Collection[str]) -> set[str]:
    """Return those of some models that were deleted and can be had back.

    A reply names none of them, as if they were gone.
    """
    if not models:
        return set()
    deleted = select(Model.id).where(Model.id.in_(models), Model.deleted_at.is_not(None))
    return set(session.scalars(deleted))


def corpus_as_shown(session: Session, corpus_id: str, user: CurrentUser) -> Row[Any] | None:
    """Read a corpus's `normal_form`, and whether a user may see the corpus (`is_visible`)."""
    values = {"id": corpus_id, "user_id": user.id}
    return session.connection().execute(_corpus_as_shown(), values).one_or_none()


@cache
def _corpus_as_shown() -> Select[Any]:
    is_visible = _visible_to(Corpus, bindparam("user_id")).label("is_visible")
    columns: tuple[Any, ...] = (Corpus.normal_form, is_visible)
    return select(*columns).where(Corpus.id == bindparam("id"))


def may_show_excerpts(session: Session, model_id: str, user: CurrentUser) -> bool:
    """Return whether a user may be shown pieces of a model's corpus."""
    statement = select(Model.id).outerjoin(Corpus, Model.corpus_id == Corpus.id)
    shown = statement.where(Model.id == model_id, _shows_excerpts(user.id))
    return session.scalar(shown) is not None


def jobs_that_show_excerpts(session: Session, jobs: Collection[str]) -> set[str]:
    """Return those jobs of the current user whose texts may tell where in the corpus they copy."""
    statement = (
        select(Job.id)
        .outerjoin(Corpus, Job.corpus_id == Corpus.id)
        .outerjoin(Model, Job.model_id == Model.id)
        .where(Job.id.in_(jobs), _shows_excerpts(current_user().id))
    )
    return set(session.scalars(statement))


def _shows_excerpts(user_id: str | BindParameter[str]) -> ColumnElement[bool]:
    """Return the condition on a corpus and a model trained on it.

    Whoever trained the model could read the corpus.
    """
    return or_(
        _visible_to(Corpus, user_id),
        and_(Corpus.allow_excerpts, Corpus.deleted_at.is_(None)),
        and_(Model.user_id == user_id, Model.deleted_at.is_(None)),
    )


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


@cache
def _select_visible(table: type[Shareable], lock: Lock | None) -> Select[Shareable]:
    """Build the statement for a corpus or a model by `id`, if `user_id` may see it."""
    visible_to = _visible_to(table, bindparam("user_id"))
    statement = select(table).where(table.id == bindparam("id"), visible_to)
    if lock is None:
        return statement
    if lock == "use" and table is Model:
        # A generation reads the vocabulary next.
        statement = statement.options(undefer(Model.vocabulary))
    return statement.with_for_update(read=lock == "use", key_share=lock == "use", of=table)


def own(
    session: Session, table: type[Shareable], reference: str, *, deleted: bool = False
) -> Shareable:
    """Load a corpus or a model that the current user owns, and lock it until the commit.

    Args:
        session: The session to load it in.
        table: `Corpus` or `Model`.
        reference: The id from the request.
        deleted: Find it even if it was deleted, and can be had back.

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
    values = {"id": as_id("job", reference), "user_id": current_user().id}
    row = _own_job_as_shown().first(connection, values)
    if row is None:
        raise NotFound("job", reference)
    return row


@cache
def _own_job_as_shown() -> PreparedSelect:
    user_id: BindParameter[str] = bindparam("user_id")
    return PreparedSelect(
        select(
            *Job.__table__.columns,
            _visible_to(Corpus, user_id).label("shows_corpus"),
            _shows_excerpts(user_id).label("shows_excerpts"),
            Model.deleted_at.is_not(None).label("model_deleted"),
        )
        .select_from(Job)
        .outerjoin(Corpus, Job.corpus_id == Corpus.id)
        .outerjoin(Model, Job.model_id == Model.id)
        .where(Job.id == bindparam("id"), Job.user_id == user_id)
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
