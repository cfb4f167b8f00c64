"""Random numbers as data: each depends on a seed and a position, and on nothing else."""

import numpy as np
import numpy.typing as npt

#: The second word of a Philox key; the seed is the first.
DRAW_STREAM = 0x64726177  # "draw"
#: Philox generates four numbers at a time: counter n holds positions 4n to 4n + 3.
WORDS_PER_COUNTER = 4
#: Bits used of a word: the middle of each of 2^23 steps is exact in a float32.
UNIFORM_BITS = 23
#: The smallest number, which picks the first of several largest logits.
SMALLEST_UNIFORM = np.float32(2.0**-24)
#: Number of seeds: a seed is one word of the key.
SEEDS = 1 << 64


def uniforms(seed: int, start: int, count: int) -> npt.NDArray[np.float32]:
    """Uniform numbers at positions `start` to `start + count - 1` of a seed's stream, [count].

    They lie strictly between 0 and 1: at least 2^-24, at most 1 - 2^-24. The generator is NumPy's
    Philox4x64-10, after Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (2011).
    """
    first, skipped = divmod(start, WORDS_PER_COUNTER)
    key = np.array([seed, DRAW_STREAM], np.uint64)
    generator = np.random.Philox(key=key, counter=first)
    words = generator.random_raw(skipped + count)[skipped:]
    steps = (words >> np.uint64(64 - UNIFORM_BITS)).astype(np.float32)
    return (steps + np.float32(0.5)) * np.float32(2.0**-UNIFORM_BITS)
