"""Figures that are learnt from jobs and shown to others: pooled, and rounded.

The figure of a single job would let any user time another user's private job.
"""

import math
from collections.abc import Collection, Iterable
from statistics import median

#: Fewer jobs, or jobs of fewer users, are not told of.
MIN_JOBS = 3
MIN_USERS = 2
SIGNIFICANT_DIGITS = 2


def pooled(figures: Iterable[tuple[str, float]]) -> float | None:
    """Return the rounded median of figures; None if they are too few to be told of.

    Args:
        figures: For each job, the id of its user and the figure.
    """
    listed = list(figures)
    if len(listed) < MIN_JOBS or len({user for user, _ in listed}) < MIN_USERS:
        return None
    return rounded(median(value for _, value in listed))


def own(figures: Collection[tuple[str, float]], user_id: str) -> list[float]:
    """Return the figures of a user's own jobs, which the user may know exactly."""
    return [value for user, value in figures if user == user_id]


def rounded(value: float) -> float:
    """Round to two significant digits."""
    if not value or not math.isfinite(value):
        return value
    return round(value, SIGNIFICANT_DIGITS - 1 - math.floor(math.log10(abs(value))))
