"""Users and their API keys: 256 random bits, of which the database keeps a prefix and SHA-256."""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from shared.clock import database_now
from shared.tables import ROLES, ApiKey, User

KEY_BYTES = 32
PREFIX_CHARACTERS = 8
#: From where a key was made that no request asked for.
THIS_MACHINE = "the server's machine"
KEY_PATTERN = re.compile(r"quire_([0-9a-z]{8})_([0-9a-f]{64})")
NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,99}")
_PREFIX_ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"

#: Built once: every request runs it.
_FIND_OWNER = (
    select(User.id, User.name, User.role, ApiKey.sha256)
    .join(ApiKey, ApiKey.user_id == User.id)
    .where(
        ApiKey.prefix == bindparam("prefix"),
        ApiKey.revoked_at.is_(None),
        User.disabled_at.is_(None),
    )
)
_IS_VALID = (
    select(ApiKey.id)
    .join(User, ApiKey.user_id == User.id)
    .where(
        ApiKey.prefix == bindparam("prefix"),
        ApiKey.revoked_at.is_(None),
        User.disabled_at.is_(None),
    )
)


class BadName(ValueError):
    """The name of a user has an invalid form."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{name!r} is not a valid user name: use 1 to 100 letters, digits, dots, dashes, "
            "underscores or @, starting with a letter or digit"
        )


class BadRole(ValueError):
    """The role does not exist."""

    def __init__(self, role: str) -> None:
        super().__init__(f"{role!r} is not a role: use {' or '.join(ROLES)}")


class NameTaken(ValueError):
    """Another user has the name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"a user named {name!r} exists already")


class LastAdmin(ValueError):
    """No admin would be left to manage the server."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name!r} is the last admin: add another one first")


@dataclass(frozen=True, slots=True)
class NewKey:
    """A new key. Only here is it complete; the database stores no secret."""

    id: str
    prefix: str
    key: str


def create_user(session: Session, name: str, role: str = "member") -> User:
    """Add a user; the caller commits.

    Raises:
        BadName: The name has an invalid form.
        BadRole: The role is neither ``admin`` nor ``member``.
        NameTaken: Another user has the name.
    """
    if not NAME_PATTERN.fullmatch(name):
        raise BadName(name)
    if role not in ROLES:
        raise BadRole(role)
    user = User(name=name, role=role, created_at=database_now(session.connection()))
    try:
        with session.begin_nested():
            session.add(user)
    except IntegrityError:
        raise NameTaken(name) from None
    return user


def disable_user(session: Session, user: User) -> None:
    """Suspend a user's keys and hold back their queued jobs until `enable_user`.

    Their running jobs continue, and yield to others as usual. The caller commits.

    Raises:
        LastAdmin: No admin would be left.
    """
    # Locked, so that of two admins who disable each other only the first succeeds.
    admins = session.scalars(
        select(User.id)
        .where(User.role == "admin", User.disabled_at.is_(None))
        .order_by(User.id)
        .with_for_update()
    ).all()
    if list(admins) == [user.id]:
        raise LastAdmin(user.name)
    user.disabled_at = user.disabled_at or database_now(session.connection())


def enable_user(user: User) -> None:
    """Reactivate a user's keys and jobs; the caller commits."""
    user.disabled_at = None


def create_key(
    session: Session,
    user: User,
    name: str = "default",
    made_by: str | None = None,
    made_from: str | None = THIS_MACHINE,
) -> NewKey:
    """Create a key for a user; the caller commits, and shows the key once.

    Args:
        session: The session to store it with.
        user: The owner.
        name: What the key is for.
        made_by: The name of the user who made it; None for whoever administers the machine.
        made_from: The address from which it was made.
    """
    secret = secrets.token_hex(KEY_BYTES)
    prefix = "".join(secrets.choice(_PREFIX_ALPHABET) for _ in range(PREFIX_CHARACTERS))
    row = ApiKey(
        user_id=user.id,
        name=name,
        prefix=prefix,
        sha256=_sha256(secret),
        made_by=made_by,
        made_from=made_from,
        created_at=database_now(session.connection()),
    )
    session.add(row)
    session.flush()
    return NewKey(row.id, prefix, f"quire_{prefix}_{secret}")


@dataclass(frozen=True, slots=True)
class Owner:
    """The user to whom a presented key belongs."""

    id: str
    name: str
    role: str
    key_prefix: str


def is_valid_key(connection: Connection, prefix: str) -> bool:
    """Return whether a key that was presented before is still valid, and its owner enabled."""
    return connection.execute(_IS_VALID, {"prefix": prefix}).one_or_none() is not None


def owner_of_key(connection: Connection, key: str) -> Owner | None:
    """Return the owner of a key; None if it is unknown or revoked, or the owner is disabled."""
    match = KEY_PATTERN.fullmatch(key)
    if match is None:
        return None
    prefix, secret = match.groups()
    row = connection.execute(_FIND_OWNER, {"prefix": prefix}).one_or_none()
    # A random 256-bit secret needs no slow hash: there is nothing to guess.
    if row is None or not hmac.compare_digest(row.sha256, _sha256(secret)):
        return None
    return Owner(row.id, row.name, row.role, prefix)


def owner_of_prefix(connection: Connection, prefix: str) -> Owner | None:
    """Return the owner of a key that is known to have been presented; None if it is invalid now."""
    row = connection.execute(_FIND_OWNER, {"prefix": prefix}).one_or_none()
    return None if row is None else Owner(row.id, row.name, row.role, prefix)


def _sha256(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
