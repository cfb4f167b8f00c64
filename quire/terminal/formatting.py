"""Numbers and times as people read them."""

from datetime import UTC, datetime

KIBI = 1024
MINUTE_SECONDS = 60
HOUR_SECONDS = 3600
DAY_SECONDS = 24 * HOUR_SECONDS


def count(number: float) -> str:
    """``1,234,567``."""
    return f"{number:,.0f}"


def size(size_bytes: float | None) -> str:
    """``586.8 KiB``."""
    if size_bytes is None:
        return ""
    for unit in ("bytes", "KiB", "MiB"):
        if size_bytes < KIBI:
            return f"{size_bytes:,.0f} {unit}" if unit == "bytes" else f"{size_bytes:,.1f} {unit}"
        size_bytes /= KIBI
    return f"{size_bytes:,.1f} GiB"


def duration(seconds: float) -> str:
    """``0:09``, ``12:34``, ``1:02:03``."""
    whole = max(0, round(seconds))
    hours, rest = divmod(whole, HOUR_SECONDS)
    minutes, second = divmod(rest, MINUTE_SECONDS)
    return f"{hours}:{minutes:02}:{second:02}" if hours else f"{minutes}:{second:02}"


def ago(moment: datetime | None, now: datetime | None = None) -> str:
    """``just now``, ``5 min ago``, ``3 h ago``, then the date."""
    if moment is None:
        return ""
    seconds = ((now or datetime.now(UTC)) - moment).total_seconds()
    if seconds < MINUTE_SECONDS:
        return "just now"
    if seconds < HOUR_SECONDS:
        return f"{seconds // MINUTE_SECONDS:.0f} min ago"
    if seconds < DAY_SECONDS:
        return f"{seconds // HOUR_SECONDS:.0f} h ago"
    return moment.astimezone().strftime("%Y-%m-%d")


def when(moment: datetime | None) -> str:
    """A local date and time, to the second."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S") if moment else ""


def clock(moment: datetime) -> str:
    """A local time of the day, to the second."""
    return moment.astimezone().strftime("%H:%M:%S")


def loss(value: float | None) -> str:
    """Nats per token, or bits per character, with three decimals."""
    return "" if value is None else f"{value:.3f}"
