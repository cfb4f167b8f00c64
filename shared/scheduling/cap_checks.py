"""The checks that enforce caps.

They run under the user's lock, then the groups', in the transaction that inserts what counts, so
that no race passes a cap.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, bindparam, func, select

from shared.clock import database_now
from shared.prepared import Prepared
from shared.scheduling.accounting import held_today, midnight, running_trainings, used_today
from shared.scheduling.caps import QUEUED, Caps, caps_of, corpora_bytes, count, stored_bytes
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
    groups_of,
    is_over,
    lock_groups,
    queued_in,
    stored_bytes_in,
    used_today_in,
)
from shared.settings import Settings
from shared.tables import ApiKey, Corpus, Kind, Model, ShareLink, User

#: Serialises all inserts of one user that a cap counts.
_LOCK = Prepared(
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
    queued = QUEUED.first(connection, {"user": user_id}).count
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
        stored = stored_bytes(connection, user_id)
        if stored >= caps.stored_bytes:
            raise StorageFull(stored, 0, caps.stored_bytes)
        if (models := count(connection, Model, user_id)) > caps.models:
            raise TooMany("models", models - 1, caps.models)
    for group in groups:
        _check_group(connection, group, kind, now, until, jobs_at_once)


def read_user_ahead(connection: Connection, user_id: str) -> None:
    """Send what `check_job` will read first; the user is locked from now on."""
    _LOCK.ahead(connection, {"user": user_id})
    QUEUED.ahead(connection, {"user": user_id})


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


def _lock_storing_user(
    connection: Connection, settings: Settings, user_id: str
) -> tuple[Sequence[Any], Caps]:
    """As `_lock_user`, of a user who may still store something."""
    user, groups, caps = _lock_user(connection, settings, user_id)
    if is_over(user, groups):
        raise GroupsOver
    return groups, caps


def _check_all_stored(
    connection: Connection, user_id: str, caps: Caps, groups: Sequence[Any], more: int
) -> None:
    """Check that a user, and the members of each of the user's groups, may store `more` bytes."""
    stored = stored_bytes(connection, user_id)
    if stored + more > caps.stored_bytes:
        raise StorageFull(stored, more, caps.stored_bytes)
    for group in groups:
        _check_stored(connection, group, more)


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
    if (keys := count(connection, ApiKey, user_id)) >= caps.keys:
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
    groups, caps = _lock_storing_user(connection, settings, user_id)
    if (corpora := count(connection, Corpus, user_id)) >= caps.corpora:
        raise TooMany("corpora", corpora, caps.corpora)
    used = corpora_bytes(connection, user_id)
    if used + more > caps.corpora_bytes:
        raise CorporaFull(used, more, caps.corpora_bytes)
    _check_all_stored(connection, user_id, caps, groups, more)


def check_model(connection: Connection, settings: Settings, user_id: str, more: int) -> None:
    """Check that a user may import a model of `more` bytes; lock the user until the commit.

    Raises:
        TooMany: The user has as many models as allowed.
        StorageFull: The user's corpora and checkpoints would take too many bytes.
        GroupFull: Those of all members of one of the user's groups would.
        GroupsOver: The user was made for groups, and all of them have ended.
    """
    groups, caps = _lock_storing_user(connection, settings, user_id)
    if (models := count(connection, Model, user_id)) >= caps.models:
        raise TooMany("models", models, caps.models)
    _check_all_stored(connection, user_id, caps, groups, more)


def check_checkpoint(connection: Connection, settings: Settings, user_id: str) -> None:
    """Check that a checkpoint just inserted may stay; lock the user until the commit.

    Raises:
        StorageFull: With it, the user's corpora and checkpoints take too many bytes.
        GroupFull: With it, those of all members of one of the user's groups do.
    """
    _, groups, caps = _lock_user(connection, settings, user_id)
    _check_all_stored(connection, user_id, caps, groups, 0)


def _lock_user(
    connection: Connection, settings: Settings, user_id: str, now: datetime | None = None
) -> tuple[Any, Sequence[Any], Caps]:
    """Lock a user, and the groups whose caps bind the user."""
    [user] = _LOCK.all(connection, {"user": user_id})
    groups = groups_of(connection, [user_id], now or database_now(connection)).get(user_id, ())
    lock_groups(connection, groups)
    return user, groups, caps_of(user, settings, groups)
