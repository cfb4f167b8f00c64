"""One seed for a job, one for each of its texts.

Text `i` of temperature `j` of a job with seed ``s`` gets ``s`` itself where both
are 0, else the first 53 bits of SHA-256 over ``"quire:{s}:{j}:{i}"``. A text
tells its own seed: asked for again with that seed, its prompt, one temperature
and ``n: 1``, it comes out the same.
"""

import hashlib
import secrets

from shared.specs.presets import SEED_LIMIT


def new_seed() -> int:
    """A seed nobody chose."""
    return secrets.randbelow(SEED_LIMIT)


def text_seed(seed: int, temperature_index: int, text_index: int) -> int:
    """The seed of one text of a job, by the rule of this module."""
    if temperature_index == 0 and text_index == 0:
        return seed
    name = f"quire:{seed}:{temperature_index}:{text_index}".encode()
    return int.from_bytes(hashlib.sha256(name).digest()[:8]) % SEED_LIMIT
