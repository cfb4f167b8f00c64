"""The caps of a user, and the checks that enforce them.

Each cap is the user's own if an admin set one, and otherwise the settings' default; those on the
numbers of corpora, models and keys are the settings' for everybody. The checks run
under the user's lock, in the transaction that inserts what counts, so that no race passes a cap.
The claim counts running jobs and the day's device time (shared/scheduling/candidates.py).
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, bindparam, func, select, text

from shared.scheduling.accounting import held_today, midnight, running_trainings, used_today
from shared.scheduling.errors import CorporaFull, DayUsedUp, QueueFull, StorageFull, TooMany
from shared.settings import Settings
from shared.tables import WAITING, ApiKey, Checkpoint, Corpus, Job, Kind, Model, User

#: Serialises all inserts of one user that a cap counts.
_LOCK = (
    select(
        User.max_running,
        User.max_queued,
        User.max_device_seconds_per_day,
        User.max_stored_bytes,
        User.max_corpora_bytes,
        User.used_seconds,
        User.used_on,
    )
    .where(User.id == bindparam("user"))
    .with_for_update(key_share=True)
)
_QUEUED = select(func.count()).select_from(Job).where(
    Job.user_id == bindparam("user"), text(WAITING)
)  # fmt: skip
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


def caps_of(user: Any, settings: Settings) -> Caps:
    """Determine a user's caps from the user's row."""

    def own_or(own: Any, default: Any) -> Any:
        return default if own is None else own

    return Caps(
        own_or(user.max_running, settings.max_running_per_user),
        own_or(user.max_queued, settings.max_queued_per_user),
        own_or(user.max_device_seconds_per_day, settings.max_device_seconds_per_day),
        own_or(user.max_stored_bytes, settings.max_stored_bytes_per_user),
        own_or(user.max_corpora_bytes, settings.max_corpora_bytes_per_user),
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
        queued=connection.scalar(_QUEUED, {"user": user.id}) or 0,
        device_seconds_today=used_today(user.used_seconds, user.used_on, now) + held,
        stored_bytes=_stored_bytes(connection, user.id),
        corpora_bytes=_corpora_bytes(connection, user.id),
        corpora=_count(connection, Corpus, user.id),
        models=_count(connection, Model, user.id),
        keys=_count(connection, ApiKey, user.id),
    )


def check_job(
    connection: Connection,
    settings: Settings,
    user_id: str,
    kind: Kind,
    now: datetime,
    jobs: int = 1,
) -> None:
    """Check that a user may queue so many more jobs; lock the user until the commit.

    Raises:
        QueueFull: The user would have more queued jobs than allowed.
        DayUsedUp: The user has used up today's device time.
        StorageFull: A training's checkpoints could not be stored.
        TooMany: The user would have too many models; that of this training counts.
    """
    user, caps = _lock_user(connection, settings, user_id)
    queued = connection.scalar(_QUEUED, {"user": user_id}) or 0
    if queued + jobs > caps.queued:
        raise QueueFull(queued, caps.queued)
    limit = caps.device_seconds_per_day
    if limit is not None:
        held = held_today(connection, running_trainings(connection, now)).get(user_id, 0.0)
        used = used_today(user.used_seconds, user.used_on, now) + held
        if used >= limit:
            until = midnight(now) + timedelta(days=1)
            raise DayUsedUp(used, limit, until, (until - now).total_seconds())
    if kind == "train":
        stored = _stored_bytes(connection, user_id)
        if stored >= caps.stored_bytes:
            raise StorageFull(stored, 0, caps.stored_bytes)
        if (models := _count(connection, Model, user_id)) > caps.models:
            raise TooMany("models", models - 1, caps.models)


def check_key(connection: Connection, settings: Settings, user_id: str) -> None:
    """Check that a user may have one more API key; lock the user until the commit.

    Raises:
        TooMany: The user has as many keys as allowed.
    """
    _, caps = _lock_user(connection, settings, user_id)
    if (keys := _count(connection, ApiKey, user_id)) >= caps.keys:
        raise TooMany("keys", keys, caps.keys)


def check_corpus(connection: Connection, settings: Settings, user_id: str, more: int) -> None:
    """Check that a user may store a corpus of `more` bytes; lock the user until the commit.

    Raises:
        TooMany: The user has as many corpora as allowed.
        CorporaFull: The user's corpora would take too many bytes.
        StorageFull: The user's corpora and checkpoints would take too many bytes.
    """
    _, caps = _lock_user(connection, settings, user_id)
    if (corpora := _count(connection, Corpus, user_id)) >= caps.corpora:
        raise TooMany("corpora", corpora, caps.corpora)
    used = _corpora_bytes(connection, user_id)
    if used + more > caps.corpora_bytes:
        raise CorporaFull(used, more, caps.corpora_bytes)
    stored = _stored_bytes(connection, user_id)
    if stored + more > caps.stored_bytes:
        raise StorageFull(stored, more, caps.stored_bytes)


def check_checkpoint(connection: Connection, settings: Settings, user_id: str) -> None:
    """Check that a checkpoint just inserted may stay; lock the user until the commit.

    Raises:
        StorageFull: With it, the user's corpora and checkpoints take too many bytes.
    """
    _, caps = _lock_user(connection, settings, user_id)
    stored = _stored_bytes(connection, user_id)
    if stored > caps.stored_bytes:
        raise StorageFull(stored, 0, caps.stored_bytes)


def _lock_user(connection: Connection, settings: Settings, user_id: str) -> tuple[Any, Caps]:
    user = connection.execute(_LOCK, {"user": user_id}).one()
    return user, caps_of(user, settings)


def _count(connection: Connection, table: type[Corpus | Model | ApiKey], user_id: str) -> int:
    statement = select(func.count()).select_from(table).where(table.user_id == user_id)
    if table is ApiKey:
        statement = statement.where(ApiKey.revoked_at.is_(None))
    return connection.scalar(statement) or 0


def _corpora_bytes(connection: Connection, user_id: str) -> int:
    # PostgreSQL's sum of bigints is a decimal.
    return int(connection.scalar(_CORPORA, {"user": user_id}) or 0)


def _stored_bytes(connection: Connection, user_id: str) -> int:
    checkpoints = connection.scalar(_CHECKPOINTS, {"user": user_id}) or 0
    return _corpora_bytes(connection, user_id) + int(checkpoints)
