"""Whose keys were valid a moment ago.

A request whose key is known begins as its owner's, and the key is confirmed together with what the
request does, for all of a group at once (`api.operations.texts.submission_groups`). To look up a
key for each request by itself takes a tenth of what a server does that is busy with short texts.
Nothing is granted before the key is confirmed.
"""

import hashlib
import threading
import time

from api.permissions import CurrentUser

KNOWN_SECONDS = 60.0
MOST_KNOWN = 1024


class KnownKeys:
    """The owners of keys that were found valid by this process."""

    def __init__(self) -> None:
        #: By the keys' digests; the one that was found valid last is the last.
        self._known: dict[bytes, tuple[CurrentUser, float]] = {}
        self._lock = threading.Lock()

    def find(self, key: str) -> CurrentUser | None:
        """Return the owner of a key; None if it was not found valid lately."""
        user, until = self._known.get(_digest(key), (None, 0.0))
        return user if time.monotonic() < until else None

    def note(self, key: str, user: CurrentUser) -> None:
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
