"""Numbers, sizes and times formatted for people."""

from datetime import UTC, datetime, timedelta

import humanize

#: Durations below this are written with a decimal.
BRIEF_SECONDS = 10


def count(number: float) -> str:
    """Format a number as ``1,234,567``."""
    return humanize.intcomma(round(number))


def size(size_bytes: float | None) -> str:
    """Format a size as ``586.8 KiB``; None gives an empty string."""
    return "" if size_bytes is None else humanize.naturalsize(size_bytes, binary=True)


def duration(seconds: float) -> str:
    """Format a duration for a table as ``0:09``, ``12:34`` or ``1:02:03``."""
    # humanize has no clock format; timedelta's has a leading hour, and words for days.
    minutes, second = divmod(max(0, round(seconds)), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def duration_in_words(seconds: float) -> str:
    """Format a duration for a sentence as ``1 minute and 15 seconds`` or ``2.5 seconds``."""
    digits = 1 if seconds < BRIEF_SECONDS else None
    return humanize.precisedelta(timedelta(seconds=round(seconds, digits)), format="%g")


def ago(moment: datetime | None, now: datetime | None = None) -> str:
    """Format a moment as ``5 minutes ago``, or as a local date once a day has passed."""
    if moment is None:
        return ""
    elapsed = (now or datetime.now(UTC)) - moment
    if elapsed >= timedelta(days=1):
        return moment.astimezone().strftime("%Y-%m-%d")
    return humanize.naturaltime(max(elapsed, timedelta()))


def when(moment: datetime | None) -> str:
    """Format a moment as a local date and time, to the second."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S") if moment else ""


def clock(moment: datetime) -> str:
    """Format a moment as a local time of day, to the second."""
    return moment.astimezone().strftime("%H:%M:%S")


def loss(value: float | None) -> str:
    """Format a loss, in nats per token or bits per character, with three decimals."""
    return "" if value is None else f"{value:.3f}"
