"""Group commit: what a transaction costs once, all who wait for one share.

Whoever comes while a transaction runs waits; then the first of those who wait leads the next one,
with all of them in it. Alone, a thread commits at once. There is no thread for it and no delay to
collect more: groups are as large as the load makes them.
"""

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Member = TypeVar("Member")

#: Whoever comes when more than this many wait keeps what `before_waiting` would give up: so it
#: bounds how many wait while the database is slow.
MANY = 64


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
    ) -> None:
        """Commit together with whatever waits, in this thread or in that of another member.

        Args:
            member: What this thread wants to commit.
            commit: Commits a group, and tells each member what became of it; the same function
                for all. An error that it raises is raised to all members.
            before_waiting: Called if this thread has to wait, to give up what others could use
                meanwhile.
        """
        ticket = _Ticket(member)
        with self._lock:
            self._waiting.append(ticket)
            leads = not self._has_leader
            self._has_leader = True
            are_many = len(self._waiting) > MANY
        if not leads:
            if not are_many:
                before_waiting()
            ticket.turn.acquire()
        if not ticket.is_done:
            self._lead(commit)
        if ticket.error is not None:
            raise ticket.error

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
            next_leader.turn.release()
        for ticket in group:
            ticket.error = error
            ticket.is_done = True
            if ticket is not group[0]:
                ticket.turn.release()


class _Ticket(Generic[Member]):
    """A thread that waits for its transaction, or for its turn to lead one."""

    __slots__ = ("error", "is_done", "member", "turn")

    def __init__(self, member: Member) -> None:
        self.member = member
        #: Held until the turn comes: a lock is a third of an event's price.
        self.turn = threading.Lock()
        self.turn.acquire()
        self.is_done = False
        self.error: BaseException | None = None
