"""The seed of a job and of each of its texts.

Text `i` at temperature `j` of a job with seed ``s`` has the seed ``s`` if both are 0, and
otherwise the last 53 of the first 64 bits of SHA-256 over ``"quire:{s}:{j}:{i}"``. A text is
stored with its seed: a request with this seed, its prompt, its temperature and ``n: 1`` gives the
same text.
"""

import hashlib
import secrets

from shared.specs.training import SEED_LIMIT


def new_seed() -> int:
    """Draw a random seed."""
    return secrets.randbelow(SEED_LIMIT)


def text_seed(seed: int, temperature_index: int, text_index: int) -> int:
    """Derive the seed of one text of a job, by the rule of this module."""
    if temperature_index == 0 and text_index == 0:
        return seed
    name = f"quire:{seed}:{temperature_index}:{text_index}".encode()
    return int.from_bytes(hashlib.sha256(name).digest()[:8]) % SEED_LIMIT
