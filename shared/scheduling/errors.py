"""Refusals of more than a user or a group may have. Each message says what to do about it."""

from datetime import datetime
from typing import Self

QUEUE_FULL_RETRY_SECONDS = 30.0
#: Else what was deleted counts for some days more.
PURGE = " (with `purge=true`, or `quire … rm --purge`: deleted ones count until they are purged)"


class CapReached(Exception):
    """A user has reached a cap.

    Attributes:
        slug: The cap's name for programs.
        title: The cap's name for people.
        retry_seconds: When to try again, if waiting helps; else None.
    """

    slug = "cap-reached"
    title = "Cap reached"

    def __init__(self, detail: str, retry_seconds: float | None = None) -> None:
        self.retry_seconds = retry_seconds
        super().__init__(detail)


class QueueFull(CapReached):
    """The user has as many queued jobs as one user may have."""

    slug, title = "queue-full", "Too many queued jobs"

    def __init__(self, queued: int, limit: int) -> None:
        self.limit = limit
        super().__init__(
            f"you have {queued:,} queued jobs, paused ones included, and one user may have "
            f"{limit:,}: wait for some to run, or cancel some",
            QUEUE_FULL_RETRY_SECONDS,
        )


class DayUsedUp(CapReached):
    """The user has used up today's device time."""

    slug, title = "day-used-up", "Today's device time is used up"

    def __init__(self, used: float, limit: float, until: datetime, seconds_left: float) -> None:
        super().__init__(
            f"you have used {used:,.0f} of {limit:,.0f} device-seconds today, the most one may "
            f"use in a day: try again after {until:%Y-%m-%d %H:%M} UTC",
            seconds_left,
        )


class StorageFull(CapReached):
    """The user's corpora and checkpoints take as many bytes as one user may store."""

    slug, title = "storage-full", "Too many stored bytes"

    def __init__(self, used: int, more: int, limit: int) -> None:
        super().__init__(
            f"your corpora and checkpoints take {used:,} bytes"
            + (f", this would be {more:,} more" if more else "")
            + f", and one user may store {limit:,}: delete models or corpora that you don't need"
            + PURGE
        )


class CorporaFull(CapReached):
    """The user's corpora take as many bytes as one user may store."""

    slug, title = "corpora-full", "Too many bytes of corpora"

    def __init__(self, used: int, more: int, limit: int) -> None:
        super().__init__(
            f"your corpora take {used:,} bytes, this would be {more:,} more, and one user may "
            f"store {limit:,}: delete corpora that you don't need{PURGE}"
        )


class TooMany(CapReached):
    """The user has as many corpora, models, API keys or shares as one user may have."""

    def __init__(self, what: str, used: int, limit: int) -> None:
        self.slug, self.title = f"too-many-{what}", f"Too many {what}"
        verb = f"{'revoke' if what in ('keys', 'shares') else 'delete'} {what}"
        super().__init__(
            f"you have {used:,} {what}, and one user may have {limit:,} "
            f"(QUIRE_MAX_{what.upper()}_PER_USER): {verb} that you don't need"
            + (PURGE if verb.startswith("delete") else "")
        )


class GroupFull(CapReached):
    """The members of a group have together as much as they may have.

    How much of it the others have is not told.
    """

    slug, title = "group-full", "A group's cap is reached"

    @classmethod
    def of_jobs(cls, group: str, limit: int) -> Self:
        """The group has as many queued jobs as allowed."""
        return cls(
            f"the members of the group {group!r} may have {limit:,} queued jobs together, paused "
            "ones included: wait for some to run, or ask the group's teacher",
            QUEUE_FULL_RETRY_SECONDS,
        )

    @classmethod
    def of_day(cls, group: str, limit: float, until: datetime, seconds_left: float) -> Self:
        """The group has used up today's device time."""
        return cls(
            f"the members of the group {group!r} have used the {limit:,.0f} device-seconds that "
            f"they may use together in a day: try again after {until:%Y-%m-%d %H:%M} UTC",
            seconds_left,
        )

    @classmethod
    def of_bytes(cls, group: str, limit: int) -> Self:
        """The group's corpora and checkpoints take as many bytes as allowed."""
        return cls(
            f"the members of the group {group!r} may store {limit:,} bytes together, and with this "
            f"they would store more: delete models or corpora that you don't need{PURGE}; or ask "
            "the group's teacher"
        )


class GroupsOver(CapReached):
    """The user was made for groups, and all of them have ended."""

    slug, title = "group-over", "The group is over"

    def __init__(self) -> None:
        super().__init__(
            "your account was made for a group that is over, or that you are no longer in: what "
            "you have stays readable, and nothing new starts. Ask an admin to go on"
        )
