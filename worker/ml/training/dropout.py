"""Which outputs a training step leaves out: masks as data, the same on every device.

One mask lies over a whole window, the same at each of its characters (Gal and Ghahramani 2016):
what is dropped stays dropped while the state runs on, and a step needs few random numbers.
"""

import numpy as np
import numpy.typing as npt

from worker.ml.config import TrainConfig

Masks = npt.NDArray[np.float32]

#: Streams of random numbers from here on are the steps' masks; those below it are the epochs'
#: orders, and the initial weights' lies above all steps (model.py).
MASKS_STREAM = 2**62


def step_masks(config: TrainConfig, steps: range) -> Masks | None:
    """Factors of each layer's outputs in each step, [len(steps), layers, B, U]; None for 1.

    A factor is 0 with the probability `dropout`, else 1 / (1 - dropout), so that the mean of an
    output stays what it is without dropout. A step's masks depend on the seed and its number
    alone, not on how many steps one call takes.
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
