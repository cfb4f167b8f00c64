"""Whose sequences advance next: the least served owner's first, and a short text ahead of many."""

import time
from collections import Counter
from collections.abc import Hashable, ItemsView
from dataclasses import dataclass
from itertools import takewhile

from worker.ml.sampling.sampler import Sampler
from worker.ml.sampling.sequence import Sequence

#: Short sequences of owners who have no more than this run ahead of the others …
FEW_SEQUENCES = 2
#: … together if they are no more than this: for more of them, a block is no shorter.
MOST_AHEAD = 8
#: Whoever asks for little often asks again soon: for this long, the blocks of others are short.
SHORT_BLOCKS_SECONDS = 0.5


@dataclass(slots=True)
class Entry:
    """A scheduled sequence: the sampler that made it, its owner, and the sampler that runs it."""

    home: Sampler
    owner: Hashable
    sampler: Sampler


class Turns:
    """The scheduled sequences, and how long each owner's have run."""

    def __init__(self) -> None:
        # In the order in which they have waited, longest first.
        self._active: dict[Sequence, Entry] = {}
        self._served_seconds: dict[Hashable, float] = {}
        self._counts: Counter[Hashable] = Counter()
        self._ran_ahead = False
        self._ran_ahead_at: float | None = None

    def __len__(self) -> int:
        return len(self._active)

    @property
    def are_hurried(self) -> bool:
        """Whether blocks should be short, as somebody who asks for little may wait for them."""
        ran_at = self._ran_ahead_at
        return ran_at is not None and time.monotonic() - ran_at < SHORT_BLOCKS_SECONDS

    def items(self) -> ItemsView[Sequence, Entry]:
        """The sequences with their entries, those that have waited longest first."""
        return self._active.items()

    def add(self, sequence: Sequence, sampler: Sampler, owner: Hashable) -> None:
        """Schedule a sequence; `Engine.add` describes the arguments."""
        if owner not in self._served_seconds:
            # A new owner has no claim to the time before they came.
            self._served_seconds[owner] = min(self._served_seconds.values(), default=0.0)
        self._counts[owner] += 1
        self._active[sequence] = Entry(sampler, owner, sampler)

    def remove(self, sequence: Sequence) -> None:
        """Stop scheduling a sequence; does nothing for one that has already left."""
        entry = self._active.pop(sequence, None)
        if entry is None:
            return
        owner = entry.owner
        self._counts[owner] -= 1
        if not self._counts[owner]:
            del self._counts[owner], self._served_seconds[owner]

    def charge(self, sequence: Sequence, seconds: float) -> bool:
        """Charge a sequence's owner for its part of a block; False if it has left meanwhile."""
        entry = self._active.get(sequence)
        if entry is None:
            return False
        self._served_seconds[entry.owner] += seconds
        return True

    def queue_again(self, sequence: Sequence) -> None:
        """Let a sequence that has advanced wait behind its owner's others."""
        self._active[sequence] = self._active.pop(sequence)

    def take(self) -> list[tuple[Sequence, Entry]]:
        """Return the sequences that may advance in the next block, in the order of their turns.

        They are all, or the first few if these would be complete after a short block of their own.
        Two blocks in a row never run ahead: many who ask for little must not stop one who asks for
        much.
        """
        in_turn = sorted(self._active.items(), key=self._turn)
        ahead = [] if self._ran_ahead else self._ahead(in_turn)
        self._ran_ahead = bool(ahead)
        if ahead:
            self._ran_ahead_at = time.monotonic()
        return ahead or in_turn

    def _turn(self, item: tuple[Sequence, Entry]) -> tuple[float, int]:
        """Sort the least served owner first, and of equals who has fewer sequences: a new one.

        Sorting is stable: of one owner, the sequences that have waited longest go first.
        """
        owner = item[1].owner
        return self._served_seconds[owner], self._counts[owner]

    def _ahead(self, in_turn: list[tuple[Sequence, Entry]]) -> list[tuple[Sequence, Entry]]:
        """The small ones at the beginning; none if nobody would be left to wait for them."""
        ahead = list(takewhile(self._is_small, in_turn[: MOST_AHEAD + 1]))
        return ahead if len(ahead) <= MOST_AHEAD and len(ahead) < len(in_turn) else []

    def _is_small(self, item: tuple[Sequence, Entry]) -> bool:
        sequence, entry = item
        if self._counts[entry.owner] > FEW_SEQUENCES:
            return False
        return sequence.remaining_steps <= entry.sampler.batch_shape(1).short_steps_per_call
