"""The caps of a user, and what the user has of them.

Each cap is the user's own if an admin set one; otherwise the most generous that the user's groups
give each member; otherwise the settings' default. Those on the numbers of corpora, models and keys
are the settings' for everybody. A group can cap all its members together as well.
`shared/scheduling/cap_checks.py` enforces them. The claim counts running jobs and the day's device
time (shared/scheduling/candidates.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, func, or_, select, text

from shared.clock import database_now
from shared.prepared import Prepared
from shared.scheduling.accounting import held_today, running_trainings, used_today
from shared.scheduling.groups import (
    cap_of_member,
    is_over,
)
from shared.settings import Settings
from shared.tables import WAITING, ApiKey, Checkpoint, Corpus, Job, Model

QUEUED = Prepared(select(func.count().label("count")).select_from(Job).where(
    Job.user_id == bindparam("user"), text(WAITING)
))  # fmt: skip
_CORPORA = select(func.coalesce(func.sum(Corpus.bytes), 0)).where(
    Corpus.user_id == bindparam("user")
)
_CHECKPOINTS = (
    select(func.coalesce(func.sum(Checkpoint.size_bytes), 0))
    .join(Model, Checkpoint.model_id == Model.id)
    .where(Model.user_id == bindparam("user"))
)


@dataclass(frozen=True, slots=True)
class Caps:
    """The most that one user may have.

    Attributes:
        running: Trainings running at once.
        queued: Queued and paused jobs.
        device_seconds_per_day: Device time from midnight to midnight UTC; None for no cap.
        stored_bytes: Bytes of corpora and checkpoints.
        corpora_bytes: Bytes of corpora alone.
        corpora: Corpora, in number.
        models: Models, in number.
        keys: API keys that are not revoked.
    """

    running: int
    queued: int
    device_seconds_per_day: float | None
    stored_bytes: int
    corpora_bytes: int
    corpora: int
    models: int
    keys: int


@dataclass(frozen=True, slots=True)
class Use:
    """What one user has of each thing that `Caps` limits."""

    running: int
    queued: int
    device_seconds_today: float
    stored_bytes: int
    corpora_bytes: int
    corpora: int
    models: int
    keys: int


def caps_of(user: Any, settings: Settings, groups: Sequence[Any] = ()) -> Caps:
    """Determine a user's caps from the user's row, and those of the groups that bind the user.

    A user who was made for groups has no device time and no queue once all of them have ended.
    """

    def cap(field: str, default: Any, over: Any) -> Any:
        own = getattr(user, field)
        if own is not None:
            return own
        if groups:
            return cap_of_member(groups, field, default)
        return over if is_over(user, groups) else default

    stored, corpora = settings.max_stored_bytes_per_user, settings.max_corpora_bytes_per_user
    return Caps(
        cap("max_running", settings.max_running_per_user, 0),
        cap("max_queued", settings.max_queued_per_user, 0),
        cap("max_device_seconds_per_day", settings.max_device_seconds_per_day, 0.0),
        cap("max_stored_bytes", stored, stored),
        cap("max_corpora_bytes", corpora, corpora),
        settings.max_corpora_per_user,
        settings.max_models_per_user,
        settings.max_keys_per_user,
    )


def use_of(connection: Connection, user: Any, now: datetime) -> Use:
    """Read what a user has now, given the user's row."""
    running = running_trainings(connection, now)
    held = held_today(connection, running).get(user.id, 0.0)
    return Use(
        running=sum(training.user_id == user.id for training in running),
        queued=QUEUED.first(connection, {"user": user.id}).count,
        device_seconds_today=used_today(user.used_seconds, user.used_on, now) + held,
        stored_bytes=stored_bytes(connection, user.id),
        corpora_bytes=corpora_bytes(connection, user.id),
        corpora=count(connection, Corpus, user.id),
        models=count(connection, Model, user.id),
        keys=count(connection, ApiKey, user.id),
    )


def count(connection: Connection, table: type[Corpus | Model | ApiKey], user_id: str) -> int:
    """Count a user's corpora, models, or keys that are valid."""
    statement = select(func.count()).select_from(table).where(table.user_id == user_id)
    if table is ApiKey:
        statement = statement.where(
            ApiKey.revoked_at.is_(None),
            or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > database_now(connection)),
        )
    return connection.scalar(statement) or 0


def corpora_bytes(connection: Connection, user_id: str) -> int:
    """Sum the bytes of a user's corpora."""
    # PostgreSQL's sum of bigints is a decimal.
    return int(connection.scalar(_CORPORA, {"user": user_id}) or 0)


def stored_bytes(connection: Connection, user_id: str) -> int:
    """Sum the bytes of a user's corpora and checkpoints."""
    checkpoints = connection.scalar(_CHECKPOINTS, {"user": user_id}) or 0
    return corpora_bytes(connection, user_id) + int(checkpoints)
