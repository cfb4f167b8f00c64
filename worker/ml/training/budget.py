"""A budget of seconds becomes a number of steps, once the speed is known.

The seconds count from the first step that is computed and cover the steps, the validations, and
the compilation of both; what is done with the results (checkpoints, texts) comes on top.
"""

import time

from worker.ml.training.progress import Report

#: The speed is measured for this share of the budget, within these bounds.
MEASURED_SHARE = 0.05
LEAST_SECONDS, MOST_SECONDS = 0.5, 5.0


class Stopwatch:
    """Decides how many steps fit into a budget."""

    def __init__(self, seconds: float) -> None:
        """Take the budget; the clock starts with the first step."""
        self._seconds = seconds
        self._started_at: float | None = None
        self._wanted = min(max(seconds * MEASURED_SHARE, LEAST_SECONDS), MOST_SECONDS)

    def start(self) -> None:
        """Start the clock, unless it runs."""
        if self._started_at is None:
            self._started_at = time.perf_counter()

    def has_measured(self, report: Report) -> bool:
        """Whether the report's speed is to be relied on, or the budget is spent."""
        return report.timed_seconds >= self._wanted or self._left() <= 0

    def steps(self, report: Report, judging_seconds: float, interval: int) -> int:
        """How many more steps fit, 0 or more.

        Args:
            report: Has the speed.
            judging_seconds: What a validation takes.
            interval: Steps between two validations.
        """
        left = self._left() - judging_seconds
        return max(0, int(left / (report.step_seconds + judging_seconds / interval)))

    def _left(self) -> float:
        used = time.perf_counter() - (self._started_at or time.perf_counter())
        return self._seconds - used
