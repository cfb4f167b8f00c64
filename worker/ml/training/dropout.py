"""Dropout masks of a training step, as data that is the same on every device.

One mask covers a whole window, the same at each of its characters (Gal and Ghahramani 2016): a
dropped output stays dropped while the state advances, and a step needs few random numbers.
"""

import numpy as np
import numpy.typing as npt

from worker.ml.config import TrainConfig

Masks = npt.NDArray[np.float32]

#: Random streams from this number on are the masks of the steps. The streams below are the orders
#: of the epochs; that of the initial weights lies above all steps (model.py).
MASKS_STREAM = 2**62


def step_masks(config: TrainConfig, steps: range) -> Masks | None:
    """Factors of each layer's outputs in each step.

    A factor is 0 with probability `dropout`, else 1 / (1 - dropout), so the mean of an output is
    the same as without dropout. The masks of a step depend only on the seed and the step's number,
    not on how many steps a call takes.

    Returns:
        Float32 [len(steps), layers, B, U], or None without dropout.
    """
    if not config.dropout:
        return None
    network = config.network
    shape = (network.layers, config.batch_size, network.units)
    masks = np.empty((len(steps), *shape), np.float32)
    for row, step in enumerate(steps):
        random = np.random.Generator(np.random.Philox(key=[config.seed, MASKS_STREAM + step]))
        kept = random.random(shape, np.float32) >= config.dropout
        np.multiply(kept, np.float32(1 / (1 - config.dropout)), out=masks[row])
    return masks
