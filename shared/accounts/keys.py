"""API keys: 256 random bits, of which the database keeps a prefix and SHA-256."""

import hashlib
import hmac
import re
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, bindparam, select, update
from sqlalchemy.orm import Session

from shared import audit
from shared.accounts.scopes import scopes_for, scopes_of_role
from shared.clock import database_now
from shared.prepared import Prepared
from shared.tables import ApiKey, User

KEY_BYTES = 32
PREFIX_CHARACTERS = 8
KEY_PATTERN = re.compile(r"quire_([0-9a-z]{8})_([0-9a-f]{64})")
_PREFIX_ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"

#: Every request runs it, some of them twice.
_FIND_KEYS = Prepared(
    select(
        User.id,
        User.name,
        User.role,
        User.disabled_at,
        ApiKey.id.label("key_id"),
        ApiKey.prefix,
        ApiKey.sha256,
        ApiKey.scopes,
        ApiKey.expires_at,
        ApiKey.revoked_at,
    )
    .join(ApiKey, ApiKey.user_id == User.id)
    .where(ApiKey.prefix.in_(bindparam("prefixes", expanding=True)))
)

Refusal = Literal["malformed", "unknown", "revoked", "disabled", "expired"]


class KeyRefused(Exception):
    """A key is not valid.

    Attributes:
        reason: Why. A known prefix with a wrong secret is `unknown`, whatever became of the key.
        prefix: The prefix that was presented; None if the key has not the form of one.
        expired_at: When the key expired.
    """

    def __init__(
        self, reason: Refusal, prefix: str | None = None, expired_at: datetime | None = None
    ) -> None:
        super().__init__(f"the key is {reason}")
        self.reason = reason
        self.prefix = prefix
        self.expired_at = expired_at


@dataclass(frozen=True, slots=True)
class NewKey:
    """A new key. Only here is it complete; the database stores no secret."""

    id: str
    prefix: str
    key: str


@dataclass(frozen=True, slots=True)
class Owner:
    """The user to whom a presented key belongs, and what the key may be used for."""

    id: str
    name: str
    role: str
    key_id: str
    key_prefix: str
    scopes: frozenset[str]
    expires_at: datetime | None


def new_secret() -> tuple[str, str]:
    """Return a prefix, to find a secret by, and the secret."""
    prefix = "".join(secrets.choice(_PREFIX_ALPHABET) for _ in range(PREFIX_CHARACTERS))
    return prefix, secrets.token_hex(KEY_BYTES)


def sha256_of(secret: str) -> str:
    """Hash a secret. One of 256 random bits needs no slow hash: there is nothing to guess."""
    return hashlib.sha256(secret.encode()).hexdigest()


def create_key(
    session: Session,
    user: User,
    name: str = "default",
    origin: audit.Origin = audit.LOCAL,
    *,
    scopes: Collection[str] | None = None,
    expires_at: datetime | None = None,
) -> NewKey:
    """Create a key for a user; the caller commits, and shows the key once.

    Args:
        session: The session to store it with.
        user: The owner.
        name: What the key is for.
        origin: Who makes it, and from where.
        scopes: What it may be used for; by default all that the owner's role allows.
        expires_at: From when on it is refused.

    Raises:
        ScopesBeyondRole: The owner's role does not allow one of the scopes.
    """
    granted = scopes_for(user, scopes)
    prefix, secret = new_secret()
    row = ApiKey(
        user_id=user.id,
        name=name,
        prefix=prefix,
        sha256=sha256_of(secret),
        made_by=origin.actor,
        made_from=origin.address,
        scopes=" ".join(granted),
        created_at=database_now(session.connection()),
        expires_at=expires_at,
    )
    session.add(row)
    session.flush()
    audit.record(
        session,
        "key.created",
        origin,
        user=user.name,
        resource=("key", prefix),
        scopes=granted,
        expires_at=None if expires_at is None else expires_at.isoformat(),
    )
    return NewKey(row.id, prefix, f"quire_{prefix}_{secret}")


def revoke_key(session: Session, key: ApiKey, origin: audit.Origin) -> None:
    """Revoke a key; the caller commits. A revoked one stays as it is."""
    revoked = session.execute(
        update(ApiKey)
        .where(ApiKey.id == key.id, ApiKey.revoked_at.is_(None))
        .values(revoked_at=database_now(session.connection()))
    )
    if revoked.rowcount:  # type: ignore[attr-defined]  # an UPDATE has it
        owner = session.get_one(User, key.user_id)
        audit.record(session, "key.revoked", origin, user=owner.name, resource=("key", key.prefix))


def owner_of_key(connection: Connection, key: str) -> Owner:
    """Return the owner of a key.

    Raises:
        KeyRefused: The key is unknown, revoked or expired, or its owner is disabled.
    """
    match = KEY_PATTERN.fullmatch(key)
    if match is None:
        raise KeyRefused("malformed")
    prefix, secret = match.groups()
    row = _FIND_KEYS.first(connection, {"prefixes": [prefix]})
    if row is None or not hmac.compare_digest(row.sha256, sha256_of(secret)):
        raise KeyRefused("unknown", prefix)
    return _owner(connection, row, prefix)


def owner_of_prefix(connection: Connection, prefix: str) -> Owner:
    """Return the owner of a key that is known to have been presented.

    Raises:
        KeyRefused: The key is revoked or expired, or its owner is disabled.
    """
    row = _FIND_KEYS.first(connection, {"prefixes": [prefix]})
    if row is None:
        raise KeyRefused("unknown", prefix)
    return _owner(connection, row, prefix)


def read_owners_ahead(connection: Connection, prefixes: Collection[str]) -> None:
    """Send what `owners_of` will read."""
    if prefixes:
        _FIND_KEYS.ahead(connection, {"prefixes": list(prefixes)})


def owners_of(connection: Connection, prefixes: Collection[str]) -> dict[str, Owner]:
    """Return the owners of keys that are known to have been presented, of those that are valid."""
    if not prefixes:
        return {}
    rows = _FIND_KEYS.all(connection, {"prefixes": list(prefixes)})
    return {
        row.prefix: _owner_in(row) for row in rows if _refusal(connection, row, row.prefix) is None
    }


def _owner(connection: Connection, row: Any, prefix: str) -> Owner:
    refused = _refusal(connection, row, prefix)
    if refused is not None:
        raise refused
    return _owner_in(row)


def _owner_in(row: Any) -> Owner:
    scopes = scopes_of_role(row.role).intersection(row.scopes.split())
    return Owner(row.id, row.name, row.role, row.key_id, row.prefix, scopes, row.expires_at)


def refusals_of(connection: Connection, prefixes: Collection[str]) -> dict[str, KeyRefused | None]:
    """Return why keys that were valid before are not valid any more; None for those that are."""
    rows = {row.prefix: row for row in _FIND_KEYS.all(connection, {"prefixes": list(prefixes)})}
    return {
        prefix: _refusal(connection, rows[prefix], prefix)
        if prefix in rows
        else KeyRefused("unknown", prefix)
        for prefix in prefixes
    }


def _refusal(connection: Connection, row: Any, prefix: str) -> KeyRefused | None:
    if row.revoked_at is not None:
        return KeyRefused("revoked", prefix)
    if row.disabled_at is not None:
        return KeyRefused("disabled", prefix)
    if row.expires_at is not None and row.expires_at <= database_now(connection):
        return KeyRefused("expired", prefix, row.expires_at)
    return None
