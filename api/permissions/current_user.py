"""Who makes the request that is being handled, and what their key allows."""

from dataclasses import dataclass
from datetime import datetime

from flask import g
from sqlalchemy import (
    Connection,
    select,
)
from sqlalchemy.orm import Session

from api.errors import (
    INVALID_KEY,
    SESSION_ENDED,
    Forbidden,
    KeyExpired,
    MissingScope,
    Unauthenticated,
)
from shared import sessions
from shared.accounts import KeyRefused, in_order, refusals_of, scopes_of_role
from shared.groups import memberships_of
from shared.tables import (
    ApiKey,
    User,
)

#: In `flask.g`: confirms the key of the request.
CONFIRM = "confirm_key"


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
    """Return the user who sent this request, with a key that is valid.

    Raises:
        Unauthenticated: The key was only known, and is not valid any more.
    """
    if (confirm := g.get(CONFIRM)) is not None:
        confirm()
    user: CurrentUser = g.current_user
    return user


def presented_user() -> CurrentUser:
    """Return whose key came with this request. It may need to be confirmed (`needs_confirming`).

    It is for what neither tells nor changes anything, and for what confirms the key itself.
    """
    user: CurrentUser = g.current_user
    return user


def needs_confirming() -> bool:
    """Return whether the key of this request was valid a moment ago, but is not confirmed."""
    return g.get(CONFIRM) is not None


def check_key_again(connection: Connection) -> None:
    """Check that the key of this request is still valid.

    A request that lasts does so each time before it tells something new.

    Raises:
        Unauthenticated: It was revoked or has expired, or its owner was disabled.
    """
    user = current_user()
    if user.session is not None and not sessions.is_live(connection, user.session):
        raise Unauthenticated(SESSION_ENDED)
    refused = refusals_of(connection, [user.key_prefix])[user.key_prefix]
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
