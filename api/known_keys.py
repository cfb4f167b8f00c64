"""Whose keys were valid a moment ago.

A request whose key is known begins as its owner's, and the key is confirmed together with what the
request does, for all of a group at once (`api.operations.texts.group_transaction`): a look-up for
each request by itself would be a round trip to the database for each. Nothing is granted before
the key is confirmed.
"""

import hashlib
import threading
import time
from typing import Generic, TypeVar

User = TypeVar("User")

KNOWN_SECONDS = 60.0
MOST_KNOWN = 1024


class KnownKeys(Generic[User]):
    """The owners of keys that were found valid by this process."""

    def __init__(self) -> None:
        #: By the keys' digests; the one that was found valid last is the last.
        self._known: dict[bytes, tuple[User, float]] = {}
        self._lock = threading.Lock()

    def find(self, key: str) -> User | None:
        """Return the owner of a key; None if it was not found valid lately."""
        user, until = self._known.get(_digest(key), (None, 0.0))
        return user if time.monotonic() < until else None

    def note(self, key: str, user: User) -> None:
        """Note that a key is valid."""
        digest = _digest(key)
        with self._lock:
            self._known.pop(digest, None)
            self._known[digest] = (user, time.monotonic() + KNOWN_SECONDS)
            if len(self._known) > MOST_KNOWN:
                del self._known[next(iter(self._known))]

    def forget(self, key: str) -> None:
        """Note that a key is not valid."""
        with self._lock:
            self._known.pop(_digest(key), None)


def _digest(key: str) -> bytes:
    # The keys themselves are not kept.
    return hashlib.sha256(key.encode()).digest()
