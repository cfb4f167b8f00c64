"""What a user may see of corpora and models, as conditions on their rows."""

from collections.abc import Collection
from typing import Any

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    and_,
    exists,
    or_,
    select,
)
from sqlalchemy.orm import InstrumentedAttribute, Session

from api.permissions.current_user import CurrentUser, current_user
from api.schemas.fields import Visibility
from shared.groups import is_live
from shared.tables import (
    Corpus,
    Group,
    Job,
    Membership,
    Model,
)

#: A user's id, or what holds one in a statement.
UserId = str | BindParameter[str] | InstrumentedAttribute[str]


def may_see(table: type[Corpus] | type[Model], user: CurrentUser) -> ColumnElement[bool]:
    """Return the condition that a row is the user's, or is shared with them.

    It is shared with everybody, or with a live group that the user is in. Nobody sees what was
    deleted, not even its owner: only to restore or to purge it is it looked up otherwise.
    """
    return visible_to(table, user.id)


def visible_to(table: type[Corpus] | type[Model], user_id: UserId) -> ColumnElement[bool]:
    """Return the condition that a row is there and that a user may see it."""
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


def digests_of_visible(session: Session, corpora: Collection[str | None]) -> dict[str | None, str]:
    """Return the SHA-256 of those corpora that the current user may see, by id.

    A reply shows the id of a corpus only if it is among them: a shared model, its texts and their
    jobs don't tell which private corpus it was trained on.
    """
    wanted = {corpus for corpus in corpora if corpus is not None}
    if not wanted:
        return {}
    seen = select(Corpus.id, Corpus.sha256).where(
        Corpus.id.in_(wanted), may_see(Corpus, current_user())
    )
    return dict(session.execute(seen).all())


def not_of_deleted_model(model_id: InstrumentedAttribute[Any]) -> ColumnElement[bool]:
    """Return the condition that a job or a text is not of a model that was deleted."""
    return ~exists().where(Model.id == model_id, Model.deleted_at.is_not(None))


def deleted_models(session: Session, models: Collection[str]) -> set[str]:
    """Return those of some models that were deleted and can be restored.

    A reply names none of them, as if they were gone.
    """
    if not models:
        return set()
    deleted = select(Model.id).where(Model.id.in_(models), Model.deleted_at.is_not(None))
    return set(session.scalars(deleted))


def may_show_excerpts(session: Session, model_id: str, user: CurrentUser) -> bool:
    """Return whether a user may be shown pieces of a model's corpus."""
    statement = select(Model.id).outerjoin(Corpus, Model.corpus_id == Corpus.id)
    shown = statement.where(Model.id == model_id, shows_excerpts(user.id))
    return session.scalar(shown) is not None


def jobs_that_show_excerpts(session: Session, jobs: Collection[str]) -> set[str]:
    """Return those jobs of the current user whose texts may tell where in the corpus they copy."""
    statement = (
        select(Job.id)
        .outerjoin(Corpus, Job.corpus_id == Corpus.id)
        .outerjoin(Model, Job.model_id == Model.id)
        .where(Job.id.in_(jobs), shows_excerpts(current_user().id))
    )
    return set(session.scalars(statement))


def shows_excerpts(user_id: UserId) -> ColumnElement[bool]:
    """Return the condition on a corpus and a model trained on it.

    Whoever trained the model could read the corpus.
    """
    return or_(
        visible_to(Corpus, user_id),
        and_(Corpus.allow_excerpts, Corpus.deleted_at.is_(None)),
        and_(Model.user_id == user_id, Model.deleted_at.is_(None)),
    )
