"""Caches bounded by the size of what they hold."""

from collections.abc import Callable, Hashable
from typing import TypeVar

from cachetools import LRUCache

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


def bounded_cache(limit: int, size_of: Callable[[Value], int]) -> "LRUCache[Key, Value]":
    """A cache that evicts the least recently used values once their sizes exceed a limit.

    A value larger than the limit counts as exactly the limit, so it is kept alone. cachetools
    itself would refuse it.

    Args:
        limit: The most that all values may measure together.
        size_of: Measures a value, in the limit's unit.
    """
    limit = max(1, limit)
    return LRUCache(limit, getsizeof=lambda value: min(limit, max(1, size_of(value))))
