"""Enrolments: one-time links with which users make their first keys themselves.

Whoever makes a link never sees the key. As of a key, the database keeps a prefix and a hash.
"""

import hmac
import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from shared import audit
from shared.accounts.keys import NewKey, create_key, new_secret, sha256_of
from shared.accounts.scopes import scopes_for, scopes_of_role
from shared.clock import database_now
from shared.tables import ApiKey, Enrolment, User

TOKEN_PATTERN = re.compile(r"quire_enrol_([0-9a-z]{8})_([0-9a-f]{64})")

State = Literal["open", "redeemed", "revoked", "expired"]


class EnrolmentRefused(Exception):
    """A token redeems nothing.

    Attributes:
        reason: Why. Only the right token is told more than `unknown`.
        prefix: The prefix that was presented; None if the token has not the form of one.
        ended_at: When the enrolment was redeemed or revoked, or expired.
    """

    def __init__(
        self,
        reason: Literal["unknown", "redeemed", "revoked", "expired", "disabled", "late"],
        prefix: str | None = None,
        ended_at: datetime | None = None,
    ) -> None:
        super().__init__(f"the enrolment is {reason}")
        self.reason = reason
        self.prefix = prefix
        self.ended_at = ended_at


@dataclass(frozen=True, slots=True)
class NewEnrolment:
    """A new enrolment. Only here is its token complete."""

    row: Enrolment
    token: str


def create_enrolment(
    session: Session,
    user: User,
    expires_at: datetime,
    origin: audit.Origin,
    scopes: Collection[str] | None = None,
    *,
    first_key_only: bool = False,
) -> NewEnrolment:
    """Create an enrolment of a user; the caller commits, and shows the token once.

    Args:
        session: The session to store it with.
        user: Who may redeem it.
        expires_at: From when on it redeems nothing.
        origin: Who makes it, and from where.
        scopes: What the key will be allowed to do; by default all that the user's role allows.
        first_key_only: Whether it redeems nothing once the user has a key.

    Raises:
        ScopesBeyondRole: The user's role does not allow one of the scopes.
    """
    prefix, secret = new_secret()
    row = Enrolment(
        user_id=user.id,
        prefix=prefix,
        sha256=sha256_of(secret),
        scopes=" ".join(scopes_for(user, scopes)),
        first_key_only=first_key_only,
        made_by=origin.actor,
        made_from=origin.address,
        created_at=database_now(session.connection()),
        expires_at=expires_at,
    )
    session.add(row)
    session.flush()
    audit.record(
        session, "enrolment.created", origin, user=user.name, resource=("enrolment", row.id)
    )
    return NewEnrolment(row, f"quire_enrol_{prefix}_{secret}")


def revoke_enrolment(session: Session, enrolment: Enrolment, origin: audit.Origin) -> None:
    """Revoke an enrolment; the caller commits. One that has ended stays as it is."""
    revoked = session.execute(
        update(Enrolment)
        .where(
            Enrolment.id == enrolment.id,
            Enrolment.redeemed_at.is_(None),
            Enrolment.revoked_at.is_(None),
        )
        .values(revoked_at=database_now(session.connection()))
    )
    if revoked.rowcount:  # type: ignore[attr-defined]  # an UPDATE has it
        owner = session.get_one(User, enrolment.user_id)
        audit.record(
            session,
            "enrolment.revoked",
            origin,
            user=owner.name,
            resource=("enrolment", enrolment.id),
        )


def find_open(session: Session, token: str, *, lock: bool = True) -> tuple[Enrolment, User]:
    """Return the enrolment of a token, and its user.

    Args:
        session: The session to read with.
        token: The token.
        lock: Whether to lock the enrolment until the commit. Of two that redeem at the same time,
            the second waits here, and sees what the first has done.

    Raises:
        EnrolmentRefused: The token is unknown, its enrolment has ended, or its user is disabled.
    """
    match = TOKEN_PATTERN.fullmatch(token)
    if match is None:
        raise EnrolmentRefused("unknown")
    prefix, secret = match.groups()
    statement = select(Enrolment).where(Enrolment.prefix == prefix)
    row = session.scalar(statement.with_for_update() if lock else statement)
    if row is None or not hmac.compare_digest(row.sha256, sha256_of(secret)):
        raise EnrolmentRefused("unknown", prefix)
    state = state_of(row, database_now(session.connection()))
    if state != "open":
        raise EnrolmentRefused(state, prefix, row.redeemed_at or row.revoked_at or row.expires_at)
    user = session.get_one(User, row.user_id)
    if user.disabled_at is not None:
        raise EnrolmentRefused("disabled", prefix)
    return row, user


def redeem(
    session: Session, enrolment: Enrolment, user: User, key_name: str, address: str | None
) -> NewKey:
    """Make the key that an open enrolment promises; the caller commits.

    Args:
        session: The session that has locked it with `find_open`, and its user.
        enrolment: The enrolment.
        user: Its user.
        key_name: What the key is for.
        address: From where it is redeemed.

    Raises:
        EnrolmentRefused: It is for a first key, and the user has one.
    """
    # The caller has locked the user: of two links only one makes the first key.
    if enrolment.first_key_only and _has_key(session, user):
        raise EnrolmentRefused("late", enrolment.prefix)
    enrolment.redeemed_at = database_now(session.connection())
    enrolment.redeemed_from = address
    # A role that was taken away meanwhile takes its scopes along.
    scopes = scopes_of_role(user.role).intersection(enrolment.scopes.split())
    origin = audit.Origin(user.name, address)
    key = create_key(session, user, key_name, origin, scopes=scopes)
    audit.record(
        session,
        "enrolment.redeemed",
        audit.Origin(user.name, address, key.prefix),
        user=user.name,
        resource=("enrolment", enrolment.id),
    )
    return key


def _has_key(session: Session, user: User) -> bool:
    return session.scalar(select(ApiKey.id).where(ApiKey.user_id == user.id).limit(1)) is not None


def state_of(enrolment: Enrolment, now: datetime) -> State:
    """Return what became of an enrolment by now."""
    if enrolment.redeemed_at is not None:
        return "redeemed"
    if enrolment.revoked_at is not None:
        return "revoked"
    return "expired" if enrolment.expires_at <= now else "open"
