"""How many steps a call runs: on a CPU by their work, on a GPU by the time that they have taken."""

from functools import lru_cache

from worker.ml.sampling.shape import BLOCK, StepShape

#: The fewest steps of a call on a GPU, whose steps take about equally long whatever they multiply;
#: the most are `BLOCK`.
GPU_STEPS = 64
#: What a short call should take at most, and another one.
SHORT_SECONDS, LONG_SECONDS = 0.010, 0.030
#: What the newest call weighs in the time of a step.
NEWEST_SHARE = 0.5
#: Shapes whose times are kept.
KEPT_SHAPES = 1024


class Pace:
    """The time of a step of one shape on a GPU, as its calls show it."""

    def __init__(self) -> None:
        self._calls = 0
        self._step_seconds: float | None = None

    def record(self, steps: int, seconds: float) -> None:
        """Learn from a call.

        The first one compiles, and of a shorter one than `GPU_STEPS` most is the price of a call.
        """
        self._calls += 1
        if self._calls == 1 or steps < GPU_STEPS:
            return
        found, known = seconds / steps, self._step_seconds
        self._step_seconds = found if known is None else known + NEWEST_SHARE * (found - known)

    def steps(self, *, short: bool) -> int:
        """How many steps the next call should run, from `GPU_STEPS` to `BLOCK`."""
        if self._step_seconds is None:
            return GPU_STEPS
        seconds = SHORT_SECONDS if short else LONG_SECONDS
        return int(max(GPU_STEPS, min(BLOCK, seconds / max(self._step_seconds, 1e-9))))


@lru_cache(maxsize=KEPT_SHAPES)
def pace_of(shape: StepShape) -> Pace:
    """The pace of a shape in this process, whatever the checkpoint."""
    return Pace()


def steps_of_call(shape: StepShape, *, short: bool) -> int:
    """How many steps a call of a shape should run.

    Args:
        shape: The shape, with its `filtered` and `report`.
        short: Whether the call is to be short, since somebody waits for its end: who reads the
            texts as they are written, or who will want a turn.
    """
    if shape.gpu:
        return pace_of(shape).steps(short=short)
    return shape.short_steps_per_call if short else shape.long_steps_per_call
