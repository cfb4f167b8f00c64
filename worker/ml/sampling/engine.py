"""One running batch for everybody: streams come and go between the blocks of the compiled loop."""

import time
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from worker.ml.sampling.sampler import STACK, STACKED_ROWS, Group, Sampler, advance_together
from worker.ml.sampling.sequence import Stream

#: A block ends so many characters into a text that has just begun: its first ones come at once.
FIRST_CHARACTERS = 8
#: A text that takes no more steps with its prompt is there as soon as its first ones would be.
SHORT_TEXT = 128
#: From so many samplers a thread on a stack is faster than turns: a step of it takes as long
#: whatever of it is filled.
CROWD = 2


class Engine:
    """Moves streams of any number of samplers on, a block at a time, several batches at once.

    A stream keeps its state itself, so that to sit out a block costs nothing, and to sit in
    another batch a copy of some kilobytes. Who sits in the next block is decided anew each time:
    the streams of the least served owner first, of one owner those that have waited longest, and
    whatever of the same sampler fits beside them. Where many samplers of one shape wait, their
    weights are stacked and they share the step. A long text therefore never makes a short one wait
    for its end, whoever asked for either.

    Args:
        threads: Batches that run side by side, each on a core of its own.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="engine")
        # Those that have waited longest come first.
        self._seats: dict[Stream, tuple[Sampler, Hashable]] = {}
        self._served: dict[Hashable, float] = {}
        self._counts: Counter[Hashable] = Counter()

    def __len__(self) -> int:
        return len(self._seats)

    def admit(self, stream: Stream, sampler: Sampler, owner: Hashable) -> None:
        """Let a stream take part from the next block on; `owner` is whose turn it takes.

        A stream without a step to make is never moved, and must not be admitted.
        """
        if owner not in self._served:
            # Who comes now has no claim to the time before they came.
            self._served[owner] = min(self._served.values(), default=0.0)
        self._counts[owner] += 1
        self._seats[stream] = sampler, owner

    def leave(self, stream: Stream) -> None:
        """Let a stream take part no more; one that has left already stays so."""
        seat = self._seats.pop(stream, None)
        if seat is None:
            return
        _, owner = seat
        self._counts[owner] -= 1
        if not self._counts[owner]:
            del self._counts[owner], self._served[owner]

    def step(self, meanwhile: Callable[[], None] | None = None) -> list[Stream]:
        """Run one block.

        Args:
            meanwhile: Called on this thread while the block runs on others.

        Returns:
            The streams that moved. Those that have come to their end, or met an error, have left.
        """
        batches = self._batches()
        running = [self._pool.submit(_advance, batch.groups) for batch in batches]
        try:
            if meanwhile is not None:
                meanwhile()
        finally:
            # Whatever happened there: nobody touches a stream while its batch runs.
            seconds = [one.result() for one in running]
        moved: list[Stream] = []
        for batch, spent in zip(batches, seconds, strict=True):
            streams = [stream for _, some in batch.groups for stream in some]
            # The device is one, however many batches share it: together they never take more of
            # it than the time that passed.
            share = spent / len(batches) / len(streams)
            for stream in streams:
                stream.seconds += share
                if stream in self._seats:
                    self._served[self._seats[stream][1]] += share
                    moved.append(stream)
        for stream in moved:
            if not stream.left or stream.error is not None:
                self.leave(stream)
            else:
                self._seats[stream] = self._seats.pop(stream)
        return moved

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()

    def _batches(self) -> list["_Batch"]:
        """Who sits in the next block: at most `threads` batches."""
        batches: list[_Batch] = []
        crowded = self._crowded()
        # Sorting is stable: of one owner the streams that have waited longest go first.
        in_turn = sorted(self._seats.items(), key=lambda seat: self._served[seat[1][1]])
        for stream, (sampler, _) in in_turn:
            if any(batch.take(stream, sampler) for batch in batches):
                continue
            if len(batches) < self._threads:
                stacked = _key(stream, sampler) in crowded
                batches.append(_Batch(stacked, [(sampler, [stream])]))
        while batches and len(batches) < self._threads:
            # A core would be idle: two halves are done in half the time.
            largest = max(batches, key=lambda batch: batch.splits_by)
            if not largest.splits_by:
                break
            batches.append(largest.split())
        return batches

    def _crowded(self) -> set[Hashable]:
        """The shapes of which so many samplers wait that they are to share steps."""
        waiting: dict[Hashable, set[Sampler]] = {}
        for stream, (sampler, _) in self._seats.items():
            if sampler.stackable:
                waiting.setdefault(_key(stream, sampler), set()).add(sampler)
        return {key for key, some in waiting.items() if len(some) > CROWD * self._threads}


def _key(stream: Stream, sampler: Sampler) -> Hashable:
    return sampler.shape, stream.draft.filtered


@dataclass(slots=True)
class _Batch:
    """Streams that sit in a block together: of one sampler, or of a stack of them."""

    stacked: bool
    groups: list[tuple[Sampler, list[Stream]]]

    def take(self, stream: Stream, sampler: Sampler) -> bool:
        """Seat a stream, if it fits here; whether it did."""
        first, streams = self.groups[0]
        if streams[0].draft.filtered is not stream.draft.filtered:
            return False
        room = STACKED_ROWS if self.stacked else sampler.capacity
        for other, some in self.groups:
            if other is sampler:
                if len(some) < room:
                    some.append(stream)
                    return True
                return False
        if self.stacked and len(self.groups) < STACK and first.shape == sampler.shape:
            self.groups.append((sampler, [stream]))
            return True
        return False

    @property
    def splits_by(self) -> int:
        """How many streams half of it would have; 0 where it is not worth it."""
        sampler, streams = self.groups[0]
        worth = not self.stacked and len(streams) > sampler.buckets[0]
        return len(streams) // 2 if worth else 0

    def split(self) -> "_Batch":
        """Give half of the streams to another batch."""
        sampler, streams = self.groups[0]
        half = streams[len(streams) // 2 :]
        del streams[len(streams) // 2 :]
        return _Batch(False, [(sampler, half)])


def _advance(groups: Sequence[Group]) -> float:
    """Move a batch on; the seconds it took. A stream that breaks it breaks alone."""
    started = time.perf_counter()
    streams = [stream for _, some in groups for stream in some]
    beginning = [stream.left_to_begin for stream in streams if stream.left_to_begin]
    short = max(stream.left for stream in streams) <= SHORT_TEXT
    steps = min(beginning) + FIRST_CHARACTERS if beginning and not short else None
    try:
        if len(groups) > 1:
            advance_together(groups, steps)
        else:
            groups[0][0].advance(streams, steps)
    except Exception as error:
        if len(streams) == 1:
            streams[0].error = error
        else:
            for sampler, some in groups:
                for stream in some:
                    _advance([(sampler, [stream])])
    return time.perf_counter() - started
