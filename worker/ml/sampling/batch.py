"""One call of the compiled loop: from streams to its arrays, and back."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from worker.ml.sampling.sequence import FIRST, IdArray, Stream
from worker.ml.sampling.step import BLOCK, DRAWN, FloatArray, StepShape, step_function


def advance(
    weights: Sequence[tf.Tensor],
    streams: Sequence[Stream],
    places: Sequence[int],
    shape: StepShape,
    steps: int | None,
) -> None:
    """Move streams on by one call of the compiled loop.

    Args:
        weights: As `fold` gives them; of a stack with K in front of each shape.
        streams: All filtered or none of them.
        places: The row of each.
        shape: Of the call; `filtered` is found here.
        steps: At most so many; None makes as many as a call should.
    """
    shape = replace(shape, filtered=streams[0].draft.filtered)
    most = min(shape.steps_per_call, max(stream.left for stream in streams))
    steps = most if steps is None else min(steps, most)
    if steps < 1:
        return
    batch = _Batch(shape, streams, places, steps)
    yielded, logprobs, state = step_function(shape)(
        weights, *map(tf.constant, batch.arguments), list(map(tf.constant, batch.limits))
    )
    batch.give_back(yielded.numpy(), logprobs.numpy(), state.numpy())


class _Batch:
    """The arrays of one call: each stream has a row, and rows without one only fill the batch."""

    def __init__(
        self, shape: StepShape, streams: Sequence[Stream], places: Sequence[int], steps: int
    ) -> None:
        self._streams, self._places = streams, places
        self._states = shape.window or 1
        rows = shape.rows
        known = np.zeros((BLOCK, rows), np.int32)
        uniform = np.full((BLOCK, rows), FIRST, np.float32)
        inverse = np.ones((BLOCK, rows), np.float32)
        last, clock = np.zeros(rows, np.int32), np.zeros(rows, np.int32)
        state = shape.new_state()
        for row, stream in zip(places, streams, strict=True):
            known[:, row] = DRAWN
            last[row], clock[row] = stream.last, stream.fed
            stream.feed(known[:steps, row], uniform[:steps, row], inverse[:steps, row])
            state[:, :, self._own(row)] = stream.state
        self.arguments = (state, last, clock, known, uniform, inverse, np.int32(steps))
        self.limits = _limits(shape, streams, places) if shape.filtered else []
        self._steps = steps

    def give_back(self, yielded: IdArray, logprobs: FloatArray, state: FloatArray) -> None:
        """Hand each stream what its row came to."""
        for row, stream in zip(self._places, self._streams, strict=True):
            own = state[:, :, self._own(row)].copy()
            stream.take(yielded[: self._steps, row], logprobs[: self._steps, row], own)

    def _own(self, row: int) -> slice:
        return slice(row * self._states, (row + 1) * self._states)


def _limits(
    shape: StepShape, streams: Sequence[Stream], places: Sequence[int]
) -> list[npt.NDArray[np.generic]]:
    """`top_k`, `top_p`, penalty and what was seen, of each row, with what changes nothing else."""
    everything = np.iinfo(np.int32).max
    top_k = np.full(shape.rows, everything, np.int32)
    top_p = np.ones(shape.rows, np.float32)
    penalty = np.zeros(shape.rows, np.float32)
    seen = np.full((shape.rows, shape.vocabulary), np.iinfo(np.int32).min // 2, np.int32)
    for row, stream in zip(places, streams, strict=True):
        draft = stream.draft
        if draft.top_k is not None:
            top_k[row] = min(draft.top_k, everything)
        if draft.top_p is not None:
            # Not 0 after rounding to a float32, or nothing could reach it.
            top_p[row] = max(draft.top_p, float(np.finfo(np.float32).tiny))
        penalty[row] = math.log(draft.repetition_penalty)
        stream.mark_recent(seen[row])
    return [top_k, top_p, penalty, seen]
