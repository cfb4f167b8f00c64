"""Random numbers as data: each is named by a seed and a position, and nothing else changes it."""

import numpy as np
import numpy.typing as npt

#: Second words of Philox keys. They keep the streams of one seed apart from each other.
DRAW_STREAM = 0x64726177  # "draw"
PROMPT_STREAM = 0x70726F6D  # "prom"
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
    generator = np.random.Philox(key=_key(seed, DRAW_STREAM), counter=first)
    words = generator.random_raw(skipped + count)[skipped:]
    steps = (words >> np.uint64(64 - UNIFORM_BITS)).astype(np.float32)
    return (steps + np.float32(0.5)) * np.float32(2.0**-UNIFORM_BITS)


def random_prompt(ids: npt.NDArray[np.integer], window: int, seed: int) -> npt.NDArray[np.integer]:
    """A random piece of `window` ids of a corpus, or the whole corpus when it is shorter.

    Every start from 0 to `len(ids) - window` is as likely as any other.
    """
    starts = max(len(ids) - window, 0) + 1
    generator = np.random.Generator(np.random.Philox(key=_key(seed, PROMPT_STREAM)))
    start = int(generator.integers(starts))
    return ids[start : start + window].copy()


def _key(seed: int, stream: int) -> npt.NDArray[np.uint64]:
    return np.array([seed, stream], np.uint64)
