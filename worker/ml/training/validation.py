"""When a training is judged.

All of it is counted in steps, never in seconds: a training is the same on a slow machine.
"""

from worker.ml.config import TrainConfig
from worker.ml.vectorize import steps_per_epoch

#: Characters learnt from between two validations: with what `vectorize.JUDGED_CHARACTERS` bounds,
#: judging takes about a fiftieth of the time.
BETWEEN_CHARACTERS = 20_000_000


def validation_interval(config: TrainConfig, characters: int) -> int:
    """Steps from one validation to the next within an epoch; an epoch's end is judged as well.

    Args:
        config: `validate_every`, or None for equal parts of an epoch of at most
            `BETWEEN_CHARACTERS` characters.
        characters: That are learnt from.
    """
    steps = steps_per_epoch(config, characters)
    if config.validate_every is not None:
        return min(config.validate_every, steps)
    parts = -(-steps * config.batch_size * config.window // BETWEEN_CHARACTERS)
    return -(-steps // parts)


def steps_to_validation(step: int, interval: int, epoch_steps: int) -> int:
    """Steps from `step` to the next one that is judged."""
    done = step % epoch_steps
    return min(interval - done % interval, epoch_steps - done)


def is_judged(step: int, interval: int, epoch_steps: int) -> bool:
    """Whether a validation comes after `step` steps, beside the one at a training's end."""
    return step % epoch_steps % interval == 0
