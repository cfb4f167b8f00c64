"""Random numbers as data: each is named by a seed and a position, and nothing else changes it."""

import numpy as np
import numpy.typing as npt

#: The second word of a Philox key; the seed is the first.
DRAW_STREAM = 0x64726177  # "draw"
#: Philox makes its numbers four at a time: counter n holds the positions 4n to 4n + 3.
WORDS_PER_COUNTER = 4
#: Bits of a word that are used: the middle of each of 2^23 steps is exact in a float32.
UNIFORM_BITS = 23
#: A seed is one word of the key.
SEEDS = 1 << 64


def uniforms(seed: int, start: int, count: int) -> npt.NDArray[np.float32]:
    """The numbers at positions `start` to `start + count - 1` of a seed's stream, [count].

    They lie strictly between 0 and 1: at least 2^-24, at most 1 - 2^-24. Philox4x64-10 after
    Salmon et al., «Parallel random numbers: as easy as 1, 2, 3» (2011), as NumPy has it.
    """
    first, skipped = divmod(start, WORDS_PER_COUNTER)
    key = np.array([seed, DRAW_STREAM], np.uint64)
    generator = np.random.Philox(key=key, counter=first)
    words = generator.random_raw(skipped + count)[skipped:]
    steps = (words >> np.uint64(64 - UNIFORM_BITS)).astype(np.float32)
    return (steps + np.float32(0.5)) * np.float32(2.0**-UNIFORM_BITS)
