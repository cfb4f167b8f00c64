"""Seats for those who stay: listeners, waiting requests, downloads.

One user alone may hold every seat. When all are taken and somebody with fewer asks, the user who
holds most gives up the seat that they have held longest.
"""

import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager


class NoSeat(Exception):
    """All seats are taken, and nobody holds so many more that they would have to give one up."""


class Seat:
    """A place that one user holds.

    Attributes:
        revoked: Set when it was given to somebody else: end soon.
    """

    __slots__ = ("is_left", "revoked", "user")

    def __init__(self, user: str) -> None:
        self.user = user
        self.revoked = threading.Event()
        self.is_left = False


class Seats:
    """A bounded number of seats, shared fairly.

    A seat that is revoked or vacated is free at once, though its thread notices later. A user has
    at most as many such threads as there are seats, or hanging up fast would make any number.

    Args:
        count: How many there are.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._lock = threading.Lock()
        self._taken = 0
        #: Each user's seats, oldest first.
        self._held: defaultdict[str, dict[Seat, None]] = defaultdict(dict)
        #: The seats that were given up and not left.
        self._ending: Counter[str] = Counter()

    @property
    def occupied(self) -> int:
        """How many are taken."""
        return self._taken

    def take(self, user: str) -> Seat:
        """Take a seat.

        Raises:
            NoSeat: All are taken, and nobody holds at least two more than this user; or too many
                that this user has given up are not left yet.
        """
        with self._lock:
            if self._ending[user] >= self.count:
                raise NoSeat
            if self._taken >= self.count:
                self._revoke_one_for(user)
            seat = Seat(user)
            self._held[user][seat] = None
            self._taken += 1
            return seat

    def vacate(self, seat: Seat) -> None:
        """Let others have the seat of a peer that hung up; its thread calls `leave` later."""
        with self._lock:
            if self._remove(seat):
                self._ending[seat.user] += 1

    def leave(self, seat: Seat) -> None:
        """End: give the seat back, unless it is another's already."""
        with self._lock:
            if seat.is_left:
                return
            seat.is_left = True
            if not self._remove(seat):
                self._ending[seat.user] -= 1
                if not self._ending[seat.user]:
                    del self._ending[seat.user]

    @contextmanager
    def taken(self, user: str) -> Iterator[Seat]:
        """Hold a seat for a while.

        Raises:
            NoSeat: As `take`.
        """
        seat = self.take(user)
        try:
            yield seat
        finally:
            self.leave(seat)

    def _revoke_one_for(self, user: str) -> None:
        greediest = max(self._held, key=lambda each: len(self._held[each]), default=None)
        if greediest is None or len(self._held[greediest]) < len(self._held.get(user, ())) + 2:
            raise NoSeat
        seat = next(iter(self._held[greediest]))
        self._remove(seat)
        self._ending[seat.user] += 1
        seat.revoked.set()

    def _remove(self, seat: Seat) -> bool:
        """Take a seat from its user; return whether they had it."""
        held = self._held.get(seat.user)
        if held is None or seat not in held:
            return False
        del held[seat]
        self._taken -= 1
        if not held:
            del self._held[seat.user]
        return True
