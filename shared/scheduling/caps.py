"""The caps of a user, and the checks that enforce them.

Each cap is the user's own if an admin set one; otherwise the most generous that the user's groups
give each member; otherwise the settings' default. Those on the numbers of corpora, models and keys
are the settings' for everybody. A group can cap all its members together as well. The checks run
under the user's lock, then the groups', in the transaction that inserts what counts, so that no
race passes a cap. The claim counts running jobs and the day's device time
(shared/scheduling/candidates.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, bindparam, func, or_, select, text

from shared.clock import database_now
from shared.scheduling.accounting import held_today, midnight, running_trainings, used_today
from shared.scheduling.errors import (
    CorporaFull,
    DayUsedUp,
    GroupFull,
    GroupsOver,
    QueueFull,
    StorageFull,
    TooMany,
)
from shared.scheduling.groups import (
    cap_of_member,
    groups_of,
    is_over,
    lock_groups,
    queued_in,
    stored_bytes_in,
    used_today_in,
)
from shared.settings import Settings
from shared.tables import WAITING, ApiKey, Checkpoint, Corpus, Job, Kind, Model, ShareLink, User

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
        User.teacher_id,
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
    jobs_at_once: int = 1,
) -> None:
    """Check that a user may queue so many more jobs; lock the user until the commit.

    Args:
        connection: The transaction.
        settings: Hold the defaults.
        user_id: The user.
        kind: The kind of the jobs.
        now: The database's time.
        jobs: How many jobs the user submits.
        jobs_at_once: How many jobs the transaction queues in all: those of other users may be in
            the same group.

    Raises:
        QueueFull: The user would have more queued jobs than allowed.
        DayUsedUp: The user has used up today's device time.
        StorageFull: A training's checkpoints could not be stored.
        TooMany: The user would have too many models; that of this training counts.
        GroupFull: The members of one of the user's groups have as much as allowed.
        GroupsOver: The user was made for groups, and all of them have ended.
    """
    user, groups, caps = _lock_user(connection, settings, user_id, now)
    if is_over(user, groups):
        raise GroupsOver
    queued = connection.scalar(_QUEUED, {"user": user_id}) or 0
    if queued + jobs > caps.queued:
        raise QueueFull(queued, caps.queued)
    limit = caps.device_seconds_per_day
    until = midnight(now) + timedelta(days=1)
    if limit is not None:
        held = held_today(connection, running_trainings(connection, now)).get(user_id, 0.0)
        used = used_today(user.used_seconds, user.used_on, now) + held
        if used >= limit:
            raise DayUsedUp(used, limit, until, (until - now).total_seconds())
    if kind == "train":
        stored = _stored_bytes(connection, user_id)
        if stored >= caps.stored_bytes:
            raise StorageFull(stored, 0, caps.stored_bytes)
        if (models := _count(connection, Model, user_id)) > caps.models:
            raise TooMany("models", models - 1, caps.models)
    for group in groups:
        _check_group(connection, group, kind, now, until, jobs_at_once)


def _check_group(
    connection: Connection, group: Any, kind: Kind, now: datetime, until: datetime, jobs: int
) -> None:
    """Check that members of a group may queue so many more jobs."""
    limit = group.max_queued
    if limit is not None and queued_in(connection, group.id) + jobs > limit:
        raise GroupFull.of_jobs(group.name, limit)
    limit = group.max_device_seconds_per_day
    if limit is not None:
        held = held_today(connection, running_trainings(connection, now))
        if used_today_in(connection, group.id, held, now) >= limit:
            raise GroupFull.of_day(group.name, limit, until, (until - now).total_seconds())
    if kind == "train" and group.max_stored_bytes is not None:
        _check_stored(connection, group, 1)


def _check_stored(connection: Connection, group: Any, more: int) -> None:
    """Check that the members of a group may store `more` bytes."""
    limit = group.max_stored_bytes
    if limit is not None and stored_bytes_in(connection, group.id) + more > limit:
        raise GroupFull.of_bytes(group.name, limit)


def check_key(connection: Connection, settings: Settings, user_id: str) -> None:
    """Check that a user may have one more API key; lock the user until the commit.

    Raises:
        TooMany: The user has as many keys as allowed.
    """
    _, _, caps = _lock_user(connection, settings, user_id)
    if (keys := _count(connection, ApiKey, user_id)) >= caps.keys:
        raise TooMany("keys", keys, caps.keys)


def check_share(connection: Connection, settings: Settings, user_id: str) -> None:
    """Check that a user may have one more share link; lock the user until the commit.

    Raises:
        TooMany: The user has as many as allowed.
    """
    _lock_user(connection, settings, user_id)
    live = select(func.count()).select_from(ShareLink).where(
        ShareLink.user_id == user_id, ShareLink.expires_at > database_now(connection)
    )  # fmt: skip
    if (shares := connection.scalar(live) or 0) >= settings.max_shares_per_user:
        raise TooMany("shares", shares, settings.max_shares_per_user)


def check_corpus(connection: Connection, settings: Settings, user_id: str, more: int) -> None:
    """Check that a user may store a corpus of `more` bytes; lock the user until the commit.

    Raises:
        TooMany: The user has as many corpora as allowed.
        CorporaFull: The user's corpora would take too many bytes.
        StorageFull: The user's corpora and checkpoints would take too many bytes.
        GroupFull: Those of all members of one of the user's groups would.
        GroupsOver: The user was made for groups, and all of them have ended.
    """
    user, groups, caps = _lock_user(connection, settings, user_id)
    if is_over(user, groups):
        raise GroupsOver
    if (corpora := _count(connection, Corpus, user_id)) >= caps.corpora:
        raise TooMany("corpora", corpora, caps.corpora)
    used = _corpora_bytes(connection, user_id)
    if used + more > caps.corpora_bytes:
        raise CorporaFull(used, more, caps.corpora_bytes)
    stored = _stored_bytes(connection, user_id)
    if stored + more > caps.stored_bytes:
        raise StorageFull(stored, more, caps.stored_bytes)
    for group in groups:
        _check_stored(connection, group, more)


def check_checkpoint(connection: Connection, settings: Settings, user_id: str) -> None:
    """Check that a checkpoint just inserted may stay; lock the user until the commit.

    Raises:
        StorageFull: With it, the user's corpora and checkpoints take too many bytes.
        GroupFull: With it, those of all members of one of the user's groups do.
    """
    _, groups, caps = _lock_user(connection, settings, user_id)
    stored = _stored_bytes(connection, user_id)
    if stored > caps.stored_bytes:
        raise StorageFull(stored, 0, caps.stored_bytes)
    for group in groups:
        _check_stored(connection, group, 0)


def _lock_user(
    connection: Connection, settings: Settings, user_id: str, now: datetime | None = None
) -> tuple[Any, Sequence[Any], Caps]:
    """Lock a user, and the groups whose caps bind the user."""
    user = connection.execute(_LOCK, {"user": user_id}).one()
    groups = groups_of(connection, [user_id], now or database_now(connection)).get(user_id, ())
    lock_groups(connection, groups)
    return user, groups, caps_of(user, settings, groups)


def _count(connection: Connection, table: type[Corpus | Model | ApiKey], user_id: str) -> int:
    statement = select(func.count()).select_from(table).where(table.user_id == user_id)
    if table is ApiKey:
        statement = statement.where(
            ApiKey.revoked_at.is_(None),
            or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > database_now(connection)),
        )
    return connection.scalar(statement) or 0


def _corpora_bytes(connection: Connection, user_id: str) -> int:
    # PostgreSQL's sum of bigints is a decimal.
    return int(connection.scalar(_CORPORA, {"user": user_id}) or 0)


def _stored_bytes(connection: Connection, user_id: str) -> int:
    checkpoints = connection.scalar(_CHECKPOINTS, {"user": user_id}) or 0
    return _corpora_bytes(connection, user_id) + int(checkpoints)
