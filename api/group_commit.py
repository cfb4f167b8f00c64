"""Group commit: what a transaction costs once, all who wait for one share.

Whoever comes while a transaction runs waits; then the first of those who wait leads the next one,
with all of them in it. Alone, a thread commits at once. There is no thread for it: groups are as
large as the load makes them. A leader beside whom other requests are processed waits for them a
moment, as long as they come: a transaction beside threads that work takes several times as long as
by itself, and nobody else can write meanwhile.
"""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from shared.process.wakeup import Wakeup

Member = TypeVar("Member")

#: Whoever comes when more than this many wait keeps what `before_waiting` would give up: so it
#: bounds how many wait while the database is slow.
MANY = 64
#: A leader waits for more as long as one has come within this time, and no longer than that.
NEXT_SECONDS, LONGEST_SECONDS = 0.002, 0.04
#: The pauses between its looks grow: the only other request is often one that has just been
#: answered.
SHORTEST_LOOK_SECONDS, LONGEST_LOOK_SECONDS = 0.0002, 0.001
#: How long a thread sleeps at most before it looks by itself.
SLEEP_SECONDS = 1.0


class GroupCommit(Generic[Member]):
    """Forms groups of what threads want to commit."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[_Ticket[Member]] = []
        self._has_leader = False

    def run(
        self,
        member: Member,
        commit: Callable[[Sequence[Member]], None],
        before_waiting: Callable[[], object] = lambda: None,
        more_come: Callable[[], bool] = lambda: False,
        sleeper: Wakeup | None = None,
        sleeps_on: Callable[[], bool] = lambda: False,
    ) -> None:
        """Commit together with whatever waits, in this thread or in that of another member.

        Args:
            member: What this thread wants to commit.
            commit: Commits a group, and tells each member what became of it; the same function
                for all. An error that it raises is raised to all members.
            before_waiting: Called if this thread has to wait, once or twice, to give up what
                others could use meanwhile.
            more_come: Whether others are there who may want to commit, too.
            sleeper: What this thread sleeps on while it waits, so that others may wake it, too;
                then it goes on if its member is committed.
            sleeps_on: Asked after the commit whether this thread need not be woken, as somebody
                else will wake it; it goes on after `SLEEP_SECONDS` all the same.
        """
        ticket: _Ticket[Member] = _Ticket(member, sleeper or Wakeup(), sleeps_on)
        with self._lock:
            self._waiting.append(ticket)
            leads = not self._has_leader
            self._has_leader = True
            are_many = len(self._waiting) > MANY
        if not leads:
            if not are_many:
                before_waiting()
            while not (ticket.is_done or ticket.leads):
                ticket.sleeper.wait(SLEEP_SECONDS)
                # Whoever else has woken it won't do so again.
                ticket.is_to_be_woken = True
        if not ticket.is_done:
            if not are_many and more_come():
                before_waiting()
                self._gather(more_come)
            self._lead(commit)
        if ticket.error is not None:
            raise ticket.error

    def _gather(self, more_come: Callable[[], bool]) -> None:
        """Wait for those who are about to come."""
        now = time.monotonic()
        latest, until = now + LONGEST_SECONDS, now + NEXT_SECONDS
        count, pause = len(self._waiting), SHORTEST_LOOK_SECONDS
        while now < min(until, latest) and count < MANY and more_come():
            time.sleep(pause)
            now, pause = time.monotonic(), min(2 * pause, LONGEST_LOOK_SECONDS)
            if len(self._waiting) > count:
                count, until = len(self._waiting), now + NEXT_SECONDS

    def _lead(self, commit: Callable[[Sequence[Member]], None]) -> None:
        with self._lock:
            group, self._waiting = self._waiting, []
        error: BaseException | None = None
        try:
            commit([ticket.member for ticket in group])
        except BaseException as caught:
            error = caught
        # The next transaction begins before the members of this one answer.
        with self._lock:
            next_leader = self._waiting[0] if self._waiting else None
            self._has_leader = next_leader is not None
        if next_leader is not None:
            next_leader.leads = True
            next_leader.sleeper.wake()
        for ticket in group:
            ticket.error = error
            ticket.is_done = True
            sleeps_on = error is None and ticket.sleeps_on() and not ticket.is_to_be_woken
            if ticket is not group[0] and not sleeps_on:
                ticket.sleeper.wake()


class _Ticket(Generic[Member]):
    """A thread that waits for its transaction, or for its turn to lead one."""

    __slots__ = ("error", "is_done", "is_to_be_woken", "leads", "member", "sleeper", "sleeps_on")

    def __init__(self, member: Member, sleeper: Wakeup, sleeps_on: Callable[[], bool]) -> None:
        self.member = member
        self.sleeper = sleeper
        self.sleeps_on = sleeps_on
        self.leads = False
        self.is_done = False
        #: Set by its thread, which then looks at `is_done`; the leader does both the other way
        #: around, so that one of them sees what the other has set.
        self.is_to_be_woken = False
        self.error: BaseException | None = None
