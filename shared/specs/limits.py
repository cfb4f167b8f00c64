"""The check of a training against memory and time limits, with a proposal of what to lower."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from humanize import naturalsize, precisedelta

from shared.specs.estimates import CorpusSize, estimate, same_shape
from shared.specs.training import TrainSpec

#: The numbers that may be lowered, in order of preference, with the least value of each.
LOWERED = {"batch_size": 1, "units": 8, "window": 4, "layers": 1, "vocabulary_limit": 16}
LOWERED_FOR_TIME = {"epochs": 1, "units": 8, "layers": 1, "vocabulary_limit": 16}
#: From here on a duration is told in minutes.
MINUTES_FROM_SECONDS = 600


@dataclass(frozen=True, slots=True)
class ResourceLimits:
    """The memory and the time that a training may take."""

    memory_bytes: int
    seconds: float


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
    expected = estimate(spec, corpus, speeds)
    needs = (
        f"this training needs about {naturalsize(expected.memory_bytes)} of memory and "
        f"{_duration(expected.seconds)}"
    )
    if expected.memory_bytes > limits.memory_bytes:
        reason = f"{needs}, but a worker has {naturalsize(limits.memory_bytes)} for it"
        candidates = LOWERED

        def fits(changed: TrainSpec) -> bool:
            return estimate(changed, corpus).memory_bytes <= limits.memory_bytes
    elif expected.seconds > limits.seconds:
        reason = f"{needs}, but the limit is {_duration(limits.seconds)}"
        candidates = LOWERED_FOR_TIME

        def fits(changed: TrainSpec) -> bool:
            # The measured speed holds only for networks of the same shape.
            measured = speeds if same_shape(changed.model_dump(), spec.model_dump()) else ()
            return estimate(changed, corpus, measured).seconds <= limits.seconds
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
