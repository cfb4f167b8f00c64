"""Users and keys created directly in the database, without an API key.

This module needs the extra `server`, so commands import it only where they use it.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from quire.errors import CannotStart, InvalidInput
from shared.accounts import (
    BadName,
    BadRole,
    NameTaken,
    create_key,
    create_user,
    revoke_key,
)
from shared.audit import LOCAL
from shared.database import make_engine, make_sessions
from shared.sessions import make_link
from shared.settings import Settings
from shared.tables import ApiKey, User

FIRST_ADMIN = "admin"
_ADMINS = (
    select(User)
    .where(User.role == "admin", User.disabled_at.is_(None))
    .order_by(User.created_at)
    .limit(1)
)


def add_user_locally(settings: Settings, name: str, role: str) -> tuple[str, str, str]:
    """Create a user and their first key.

    Returns:
        The user's id, the key's prefix, and the key.

    Raises:
        InvalidInput: The name or role is invalid, or the name is taken.
        CannotStart: The database is unreachable or was never migrated.
    """
    with _session(settings) as session:
        user = create_user(session, name, role)
        key = create_key(session, user)
        return user.id, key.prefix, key.key


def first_admin_key(settings: Settings) -> str | None:
    """Create the first admin and return their key; None if there already is a user."""
    with _session(settings) as session:
        if session.scalar(select(User.id).limit(1)) is not None:
            return None
        return create_key(session, create_user(session, FIRST_ADMIN, "admin")).key


def renew_admin_key(settings: Settings, name: str) -> str:
    """Create a key of that name for the oldest active admin, and revoke older ones of that name."""
    with _session(settings) as session:
        user = _oldest_admin(session)
        old_keys = session.scalars(
            select(ApiKey).where(
                ApiKey.user_id == user.id, ApiKey.name == name, ApiKey.revoked_at.is_(None)
            )
        ).all()
        for old in old_keys:
            revoke_key(session, old, LOCAL)
        return create_key(session, user, name).key


def sign_in_link(settings: Settings, url: str) -> str | None:
    """Make a link that signs the oldest active admin in once; None if there is no admin.

    The token is in the fragment, which browsers send to no server and proxies never log.
    """
    with _session(settings) as session:
        admin = session.scalars(_ADMINS).first()
        return None if admin is None else f"{url}/sign-in#{make_link(session, admin)}"


@contextmanager
def _session(settings: Settings) -> Iterator[Session]:
    """Open a transaction, and translate its errors into messages for the user."""
    engine = make_engine(settings.database)
    try:
        with make_sessions(engine).begin() as session:
            yield session
    except (BadName, BadRole, NameTaken) as error:
        raise InvalidInput(str(error)) from None
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).splitlines()[0]
        raise CannotStart(
            f"the database can't be used: {reason}. Has it been migrated (`quire migrate`)?"
        ) from None
    finally:
        engine.dispose()


def _oldest_admin(session: Session) -> User:
    return session.scalars(_ADMINS).first() or create_user(session, FIRST_ADMIN, "admin")
