"""When a training is judged, and when more of it is no use.

All of it is counted in steps, never in seconds: a training is the same on a slow machine.
"""

from typing import Any

from worker.ml.config import TrainConfig
from worker.ml.vectorize import steps_per_epoch

#: Characters learnt from between two validations: with what `vectorize.JUDGED_CHARACTERS` bounds,
#: judging takes about a fiftieth of the time.
BETWEEN_CHARACTERS = 20_000_000
#: Under a falling rate a loss that stands still will fall again at the schedule's end, and only
#: one that is worse than the best by this much will not: the network has learnt the text by heart.
BEYOND_RECOVERY = 1.1


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


def note_judgement(loop: dict[str, Any], config: TrainConfig, val_loss: float) -> bool:
    """Count a validation in the loop's state.

    `stale` counts the validations that speak for stopping, without one between that does not.

    Returns:
        Whether it is the best so far, the newest of equals.
    """
    best_before = loop["best_val_loss"]
    best = best_before is None or val_loss <= best_before
    loop["val_loss"] = val_loss
    if best:
        loop |= {"best_val_loss": val_loss, "best_step": loop["step"], "stale": 0}
    elif config.schedule == "constant" or val_loss > BEYOND_RECOVERY * best_before:
        loop["stale"] += 1
    else:
        loop["stale"] = 0
    loop["stopped"] = config.patience is not None and loop["stale"] >= config.patience
    return best
