"""The seed of a job and of each of its texts.

Text `i` at temperature `j` of a job with seed ``s`` has the seed ``s`` if both are 0, and
otherwise the last 53 of the first 64 bits of SHA-256 over ``"quire:{s}:{j}:{i}"``. A text is
stored with its seed: a request with this seed, its prompt, its temperature and ``n: 1`` gives the
same text. Draw `k` of a text with seed ``s``, after `k` that were thrown away, has the seed made of
``"quire:{s}:draw:{k}"`` in the same way.
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
    return _hashed(f"quire:{seed}:{temperature_index}:{text_index}")


def redraw_seed(seed: int, draw: int) -> int:
    """Derive the seed of a text's draw, from 1, after as many were thrown away."""
    return _hashed(f"quire:{seed}:draw:{draw}")


def _hashed(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) % SEED_LIMIT
