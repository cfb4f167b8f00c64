"""The check of a training against memory and time limits, with a proposal of what to lower."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from humanize import naturalsize, precisedelta

from shared.specs.estimates import CorpusSize, Processor, estimate, same_shape
from shared.specs.training import TrainSpec

#: The numbers that may be lowered, in order of preference, with the least value of each.
LOWERED = {"batch_size": 1, "units": 8, "window": 4, "layers": 1, "vocabulary_limit": 16}
LOWERED_FOR_TIME = {"epochs": 1, "units": 8, "layers": 1, "vocabulary_limit": 16}
#: From here on a duration is told in minutes.
MINUTES_FROM_SECONDS = 600


@dataclass(frozen=True, slots=True)
class ResourceLimits:
    """The memory and the time that a training may take.

    Attributes:
        memory_bytes: The memory of the worker's machine.
        seconds: The time.
        gpu_memory_bytes: The memory of the smallest GPU, if trainings run on GPUs.
    """

    memory_bytes: int
    seconds: float
    gpu_memory_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class ResourceLimitExceeded:
    """The reason why a training is refused.

    Attributes:
        field: The number to lower.
        maximum: The greatest value that fits; None if lowering this number alone does not help.
        reason: What the training needs and what is available.
    """

    field: str
    maximum: int | None
    reason: str


def find_exceeded_limit(
    spec: TrainSpec,
    corpus: CorpusSize,
    limits: ResourceLimits,
    speeds: Sequence[float] = (),
    fixed: Collection[str] = (),
) -> ResourceLimitExceeded | None:
    """Return the limit that a training exceeds, with the number to lower; None if it fits.

    Args:
        spec: The training.
        corpus: The size of its corpus.
        limits: The available memory and time.
        speeds: As for `estimate`.
        fixed: Numbers that can't be lowered.
    """
    processor: Processor = "cpu" if limits.gpu_memory_bytes is None else "gpu"
    expected = estimate(spec, corpus, speeds, processor)
    needs = (
        f"this training needs about {naturalsize(expected.memory_bytes)} of memory and "
        f"{_duration(expected.seconds)}"
    )
    if _exceeds(expected.gpu_memory_bytes, limits.gpu_memory_bytes):
        reason = (
            f"this training needs about {naturalsize(expected.gpu_memory_bytes or 0)} of a GPU's "
            f"memory, but the smallest one has {naturalsize(limits.gpu_memory_bytes or 0)} for it"
        )
        candidates = LOWERED

        def fits(changed: TrainSpec) -> bool:
            needed = estimate(changed, corpus, (), processor).gpu_memory_bytes
            return not _exceeds(needed, limits.gpu_memory_bytes)
    elif expected.memory_bytes > limits.memory_bytes:
        reason = f"{needs}, but a worker has {naturalsize(limits.memory_bytes)} for it"
        candidates = LOWERED

        def fits(changed: TrainSpec) -> bool:
            return estimate(changed, corpus, (), processor).memory_bytes <= limits.memory_bytes
    elif expected.seconds > limits.seconds:
        reason = f"{needs}, but the limit is {_duration(limits.seconds)}"
        candidates = LOWERED_FOR_TIME

        def fits(changed: TrainSpec) -> bool:
            # The measured speed holds only for networks of the same shape.
            alike = same_shape(changed.model_dump(), spec.model_dump(), processor)
            measured = speeds if alike else ()
            return estimate(changed, corpus, measured, processor).seconds <= limits.seconds
    else:
        return None
    if spec.budget is not None and candidates is LOWERED_FOR_TIME:
        return ResourceLimitExceeded("budget", int(limits.seconds), reason)
    maxima = {
        name: _maximum(spec, name, least, fits)
        for name, least in candidates.items()
        if name not in fixed
    }
    kept_shares = {
        name: maximum / getattr(spec, name) for name, maximum in maxima.items() if maximum
    }
    if not kept_shares:
        return ResourceLimitExceeded("units" if candidates is LOWERED else "corpus", None, reason)
    # The number that has to be lowered least.
    field = max(kept_shares, key=lambda name: kept_shares[name])
    return ResourceLimitExceeded(field, maxima[field], reason)


def _exceeds(needed: int | None, limit: int | None) -> bool:
    return needed is not None and limit is not None and needed > limit


def _maximum(
    spec: TrainSpec, name: str, least: int, fits: Callable[[TrainSpec], bool]
) -> int | None:
    """Return the greatest value below the spec's own that fits; None if not even `least` does."""
    high = getattr(spec, name)
    if high is None or not fits(spec.model_copy(update={name: least})):
        return None
    low = least
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (
            (middle, high) if fits(spec.model_copy(update={name: middle})) else (low, middle)
        )
    return int(low)


def _duration(seconds: float) -> str:
    unit = "minutes" if seconds >= MINUTES_FROM_SECONDS else "seconds"
    return precisedelta(seconds, minimum_unit=unit, format="%.0f", suppress=["years", "months"])
