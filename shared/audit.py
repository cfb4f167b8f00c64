"""The audit: `record` writes an event in the transaction of what it tells.

An event says who did what to whose, when and from where. It holds names of users, ids and prefixes
of keys; what users call their texts, models and keys is theirs, and so is what is in them.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, get_args

from sqlalchemy import select
from sqlalchemy.orm import Session

from shared.clock import database_now
from shared.ids import new_id
from shared.tables import AuditEvent
from shared.upsert import insert_if_absent

Action = Literal[
    "sign_in.refused",
    "user.created",
    "user.disabled",
    "user.enabled",
    "user.role_changed",
    "caps.changed",
    "key.created",
    "key.revoked",
    "enrolment.created",
    "enrolment.redeemed",
    "enrolment.revoked",
    "session.created",
    "session.ended",
    "share.created",
    "share.revoked",
    "group.created",
    "group.changed",
    "group.deleted",
    "group.member_added",
    "group.member_removed",
    "group.role_changed",
    "job.promoted",
    "corpus.visibility_changed",
    "corpus.excerpts_changed",
    "corpus.deleted",
    "corpus.restored",
    "corpus.purged",
    "model.visibility_changed",
    "model.deleted",
    "model.restored",
    "model.purged",
]
ACTIONS: tuple[Action, ...] = get_args(Action)
#: From where something was done that no request asked for.
THIS_MACHINE = "the server's machine"
ADDRESS_CHARACTERS = 100
#: Prefixes of keys in the row of an address and minute.
MOST_PREFIXES = 10


@dataclass(frozen=True, slots=True)
class Origin:
    """Who asks for something, with which key and from where.

    Attributes:
        actor: The name of the user; None for whoever administers the machine.
        address: The address of the request.
        key_prefix: The prefix of the key that came with it.
    """

    actor: str | None
    address: str | None
    key_prefix: str | None = None


LOCAL = Origin(None, THIS_MACHINE)


def record(
    session: Session,
    action: Action,
    origin: Origin,
    *,
    user: str | None = None,
    resource: tuple[str, str] | None = None,
    **details: Any,
) -> None:
    """Record an event; the caller commits it together with what it tells.

    Args:
        session: The session in which it happens.
        action: What was done.
        origin: Who did it, and from where.
        user: The name of the user whom it concerns.
        resource: The kind and the id of what it was done to.
        details: What else an admin may know, as JSON: no private names, and no secrets.
    """
    kind, reference = resource or (None, None)
    session.add(
        AuditEvent(
            at=database_now(session.connection()),
            action=action,
            actor=origin.actor,
            key_prefix=origin.key_prefix,
            address=origin.address,
            user=user,
            resource_kind=kind,
            resource_id=reference,
            details=details or None,
        )
    )


def count_refused_sign_ins(
    session: Session,
    address: str,
    minute: datetime,
    reasons: Mapping[str, int],
    prefixes: Iterable[str],
) -> None:
    """Add refused sign-ins to the row of their address and minute; the caller commits.

    Args:
        session: The session to write with.
        address: From where they came.
        minute: The minute in which they came.
        reasons: How many were refused for each reason.
        prefixes: The prefixes of the keys that were presented.
    """
    values = {
        "id": new_id(),
        "at": minute,
        "action": "sign_in.refused",
        "address": address,
        "details": {"reasons": {}, "key_prefixes": []},
        "count": 1,
        "counted_minute": minute,
    }
    is_new = insert_if_absent(session.connection(), AuditEvent, values)
    row = session.scalars(
        select(AuditEvent)
        .where(AuditEvent.address == address, AuditEvent.counted_minute == minute)
        .with_for_update()
    ).one()
    before = row.details or {}
    total = Counter(before.get("reasons", {})) + Counter(reasons)
    known = dict.fromkeys([*before.get("key_prefixes", []), *prefixes])
    row.details = {"reasons": dict(total), "key_prefixes": list(known)[:MOST_PREFIXES]}
    row.count = total.total()
    if is_new and known:
        row.key_prefix = next(iter(known))
