"""One running batch for everybody: streams come and go between the blocks of the compiled loop."""

import time
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor

from worker.ml.sample import Sampler
from worker.ml.sample_stream import Stream

#: A block ends so many characters into a text that has just begun: its first ones come at once.
FIRST_CHARACTERS = 8
#: A text that takes no more steps with its prompt is there as soon as its first ones would be.
SHORT_TEXT = 128


class Engine:
    """Moves streams of any number of samplers on, a block at a time, several batches at once.

    A stream keeps its state itself, so that to sit out a block costs nothing, and to sit in
    another batch a copy of some kilobytes. Who sits in the next block is decided anew each time:
    the streams of the least served owner first, and whatever of the same sampler fits beside them.
    A long text therefore never makes a short one wait for its end.

    Args:
        threads: Batches that run side by side, each on a core of its own.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="engine")
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
        running = [self._pool.submit(_advance, *batch) for batch in batches]
        try:
            if meanwhile is not None:
                meanwhile()
        finally:
            # Whatever happened there: nobody touches a stream while its batch runs.
            seconds = [one.result() for one in running]
        moved: list[Stream] = []
        for (_, streams), spent in zip(batches, seconds, strict=True):
            for stream in streams:
                stream.seconds += spent / len(streams)
                if stream in self._seats:
                    self._served[self._seats[stream][1]] += spent / len(streams)
                    moved.append(stream)
        for stream in moved:
            if not stream.left or stream.error is not None:
                self.leave(stream)
        return moved

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()

    def _batches(self) -> list[tuple[Sampler, list[Stream]]]:
        """Who sits in the next block: at most `threads` batches, each of one sampler."""
        batches: list[tuple[Sampler, list[Stream]]] = []
        # Sorting is stable: of one owner the streams that came first go first.
        in_turn = sorted(self._seats.items(), key=lambda seat: self._served[seat[1][1]])
        for stream, (sampler, _) in in_turn:
            filtered = stream.draft.filtered
            for other, streams in batches:
                alike = other is sampler and streams[0].draft.filtered is filtered
                if alike and len(streams) < sampler.capacity:
                    streams.append(stream)
                    break
            else:
                if len(batches) < self._threads:
                    batches.append((sampler, [stream]))
        while batches and len(batches) < self._threads:
            # A core would be idle: two halves are done in half the time.
            sampler, streams = max(batches, key=lambda batch: len(batch[1]))
            if len(streams) <= sampler.buckets[0]:
                break
            batches.append((sampler, streams[len(streams) // 2 :]))
            del streams[len(streams) // 2 :]
        return batches


def _advance(sampler: Sampler, streams: Sequence[Stream]) -> float:
    """Move a batch on; the seconds it took. A stream that breaks it breaks alone."""
    started = time.perf_counter()
    beginning = [stream.left_to_begin for stream in streams if stream.left_to_begin]
    short = max(stream.left for stream in streams) <= SHORT_TEXT
    steps = min(beginning) + FIRST_CHARACTERS if beginning and not short else None
    try:
        sampler.advance(streams, steps)
    except Exception as error:
        if len(streams) == 1:
            streams[0].error = error
        else:
            for stream in streams:
                _advance(sampler, [stream])
    return time.perf_counter() - started
