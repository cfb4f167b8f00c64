"""Turns a time budget into a number of steps, once the speed is known.

The budget starts at the first computed step and covers the steps, the validations, and the
compilation of both. Work on the results (checkpoints, texts) is not counted.
"""

import time

from worker.ml.training.progress import ProgressMeter

#: The speed is measured for this share of the budget, within these bounds.
MEASURED_SHARE = 0.05
MIN_MEASURED_SECONDS, MAX_MEASURED_SECONDS = 0.5, 5.0


class TimeBudget:
    """Decides how many steps fit into a number of seconds."""

    def __init__(self, seconds: float) -> None:
        """Take the budget; the clock starts with the first step."""
        self._seconds = seconds
        self._started_at: float | None = None
        measured = max(seconds * MEASURED_SHARE, MIN_MEASURED_SECONDS)
        self._measured_seconds = min(measured, MAX_MEASURED_SECONDS)

    def start(self) -> None:
        """Start the clock, unless it is running."""
        if self._started_at is None:
            self._started_at = time.perf_counter()

    def has_measured(self, meter: ProgressMeter) -> bool:
        """Whether the meter's speed is reliable, or the budget is spent."""
        return meter.timed_seconds >= self._measured_seconds or self._remaining_seconds() <= 0

    def remaining_steps(
        self, meter: ProgressMeter, validation_seconds: float, interval: int
    ) -> int:
        """How many more steps fit, 0 or more.

        Args:
            meter: Knows the speed.
            validation_seconds: Duration of one validation.
            interval: Steps between two validations.
        """
        remaining = self._remaining_seconds() - validation_seconds
        return max(0, int(remaining / (meter.step_seconds + validation_seconds / interval)))

    def _remaining_seconds(self) -> float:
        used = time.perf_counter() - (self._started_at or time.perf_counter())
        return self._seconds - used
