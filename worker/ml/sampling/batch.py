"""One call of the compiled loop: packs sequences into its arrays and unpacks the results."""

import math
import time
from collections import abc
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from worker.ml.sampling.device_rng import Streams, pack_streams
from worker.ml.sampling.pace import pace_of, steps_of_call
from worker.ml.sampling.report import Report
from worker.ml.sampling.rng import SMALLEST_UNIFORM
from worker.ml.sampling.sequence import IdArray, Sequence
from worker.ml.sampling.shape import BLOCK, DRAWN, FloatArray, StepShape
from worker.ml.sampling.step import step_function


def run_batch(
    weights: abc.Sequence[tf.Tensor],
    sequences: abc.Sequence[Sequence],
    rows: abc.Sequence[int],
    shape: StepShape,
    steps: int | None,
    *,
    short: bool = True,
    device: str | None = None,
) -> None:
    """Advance sequences by one call of the compiled loop.

    Args:
        weights: From `fold_weights`; for a stack, with K in front of each shape.
        sequences: All of one `graph`.
        rows: The row of each sequence in the batch.
        shape: Shape of the call; `filtered` and `report` are set here.
        steps: At most this many steps; None runs as many as a call should.
        short: As for `steps_of_call`.
        device: TensorFlow's name of what computes; None leaves it to TensorFlow.
    """
    filtered, report = sequences[0].request.graph
    shape = replace(shape, filtered=filtered, report=report)
    most = steps_of_call(shape, short=short)
    most = min(most, max(sequence.remaining_steps for sequence in sequences))
    steps = most if steps is None else min(steps, most)
    if steps < 1:
        return
    batch = _Batch(shape, sequences, rows, steps)
    began = time.perf_counter()
    with tf.device(device):
        results = step_function(shape)(
            weights, *map(tf.constant, batch.arguments), list(map(tf.constant, batch.limits))
        )
    yielded, logprobs, state, *found = (each.numpy() for each in results)
    if shape.gpu:
        pace_of(shape).record(steps, time.perf_counter() - began)
    batch.unpack(yielded, logprobs, state, report, found)


class _Batch:
    """The arrays of one call. Each sequence has a row; rows without one are padding."""

    def __init__(
        self,
        shape: StepShape,
        sequences: abc.Sequence[Sequence],
        rows: abc.Sequence[int],
        steps: int,
    ) -> None:
        self._sequences, self._rows = sequences, rows
        self._states = shape.window or 1
        known = np.zeros((BLOCK, shape.rows), np.int32)
        uniform = None
        if not shape.gpu:
            uniform = np.full((BLOCK, shape.rows), SMALLEST_UNIFORM, np.float32)
        inverse = np.ones((BLOCK, shape.rows), np.float32)
        last, clock = np.zeros(shape.rows, np.int32), np.zeros(shape.rows, np.int32)
        state = shape.new_state()
        for row, sequence in zip(rows, sequences, strict=True):
            known[:, row] = DRAWN
            last[row], clock[row] = sequence.input_token, sequence.computed_tokens
            numbers = None if uniform is None else uniform[:steps, row]
            sequence.fill_inputs(known[:steps, row], numbers, inverse[:steps, row])
            state[:, :, self._states_of(row)] = sequence.state
        random = _streams(shape, sequences, rows) if uniform is None else uniform
        self.arguments = (state, last, clock, known, random, inverse, np.int32(steps))
        self.limits = _limits(shape, sequences, rows) if shape.filtered else []
        self._steps = steps

    def unpack(
        self,
        yielded: IdArray,
        logprobs: FloatArray,
        state: FloatArray,
        report: Report | None,
        reported: abc.Sequence[npt.NDArray[Any]],
    ) -> None:
        """Give each sequence the results of its row."""
        for row, sequence in zip(self._rows, self._sequences, strict=True):
            if report == "likeliest":
                ids, of_ids = reported
                sequence.add_likeliest(ids[: self._steps, row], of_ids[: self._steps, row])
            elif report == "distribution":
                sequence.set_distribution(reported[0][row], self._steps)
            own = state[:, :, self._states_of(row)].copy()
            sequence.append_outputs(yielded[: self._steps, row], logprobs[: self._steps, row], own)

    def _states_of(self, row: int) -> slice:
        return slice(row * self._states, (row + 1) * self._states)


def _streams(
    shape: StepShape, sequences: abc.Sequence[Sequence], rows: abc.Sequence[int]
) -> Streams:
    """Where each row's random numbers begin; padding has those of seed 0."""
    seeds, positions = np.zeros(shape.rows, np.uint64), np.zeros(shape.rows, np.int64)
    for row, sequence in zip(rows, sequences, strict=True):
        seeds[row], positions[row] = sequence.request.seed, sequence.draw_position
    return pack_streams(seeds, positions)


def _limits(
    shape: StepShape, sequences: abc.Sequence[Sequence], rows: abc.Sequence[int]
) -> list[npt.NDArray[np.generic]]:
    """Each row's `top_k`, `top_p`, log penalty and last-seen steps; neutral values elsewhere."""
    unlimited = np.iinfo(np.int32).max
    top_k = np.full(shape.rows, unlimited, np.int32)
    top_p = np.ones(shape.rows, np.float32)
    penalty = np.zeros(shape.rows, np.float32)
    last_seen = np.full((shape.rows, shape.vocabulary), np.iinfo(np.int32).min // 2, np.int32)
    for row, sequence in zip(rows, sequences, strict=True):
        request = sequence.request
        if request.top_k is not None:
            top_k[row] = min(request.top_k, unlimited)
        if request.top_p is not None:
            # Keep it above 0 after rounding to float32, or no token could reach it.
            top_p[row] = max(request.top_p, float(np.finfo(np.float32).tiny))
        penalty[row] = math.log(request.repetition_penalty)
        sequence.fill_last_seen(last_seen[row])
    return [top_k, top_p, penalty, last_seen]
