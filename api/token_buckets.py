"""Token buckets, one per user."""

import math
import threading
import time
from dataclasses import dataclass

WINDOW_SECONDS = 60
#: Buckets that have filled up again are forgotten once there are more than this many.
KEPT_BUCKETS = 1000


@dataclass(frozen=True, slots=True)
class Level:
    """The level of a bucket after a request.

    Attributes:
        policy: The name of the limit.
        quota: The tokens of a full bucket, which refills within `WINDOW_SECONDS`.
        remaining: The tokens that are left.
        full_seconds: The time until the bucket is full.
        wait_seconds: The time until the next token, if there was none for this request.
    """

    policy: str
    quota: int
    remaining: int
    full_seconds: float
    wait_seconds: float | None


class TokenBuckets:
    """A bucket of tokens per user.

    Each stores one number, the moment at which it will be full.

    Args:
        policy: The name of the limit.
        per_minute: The tokens of a full bucket, and those that come back in a minute.
    """

    def __init__(self, policy: str, per_minute: int) -> None:
        self.policy = policy
        self.per_minute = per_minute
        self._token_seconds = WINDOW_SECONDS / per_minute
        self._full_at: dict[str, float] = {}
        self._lock = threading.Lock()

    def take(self, user_id: str, now: float | None = None) -> Level:
        """Take a token from a user's bucket, if one is left."""
        now = time.monotonic() if now is None else now
        with self._lock:
            full_at = max(now, self._full_at.get(user_id, now)) + self._token_seconds
            excess = full_at - now - WINDOW_SECONDS
            # A rounding error must not cost a token.
            if excess > self._token_seconds / 1000:
                full_seconds = full_at - self._token_seconds - now
                return Level(self.policy, self.per_minute, 0, full_seconds, excess)
            if len(self._full_at) > KEPT_BUCKETS:
                self._full_at = {user: at for user, at in self._full_at.items() if at > now}
            self._full_at[user_id] = full_at
        remaining = self.per_minute - math.ceil((full_at - now) / self._token_seconds - 0.001)
        return Level(self.policy, self.per_minute, remaining, full_at - now, None)
