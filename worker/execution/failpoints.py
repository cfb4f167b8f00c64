"""Named points at which a worker dies or hangs. Only tests use them.

`QUIRE_FAILPOINT` is unset in production. Otherwise it is a prefix of job names: with
``QUIRE_FAILPOINT=fault:``, a job named ``fault:mid-step`` kills its worker in the middle of a step.
One worker can therefore serve the tests of all points, and run ordinary jobs beside them.
"""

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Literal, get_args

import tensorflow as tf
from sqlalchemy import Engine

from shared.queue import Completion, Queue
from shared.queue.types import Claim
from shared.settings import Settings

#: The first five kill the first attempt only. `poison` kills every attempt after its claim. `hung`
#: makes the first attempt hang in a step. The rest raise in a step: `device-error` what a
#: failed GPU does, in the first attempt, `device-dead` in every attempt, `out-of-memory` likewise.
Point = Literal[
    "after-claim", "mid-step", "mid-checkpoint", "before-finish", "after-finish", "poison", "hung",
    "device-error", "device-dead", "out-of-memory",
]  # fmt: skip
EVERY_ATTEMPT: tuple[Point, ...] = ("poison", "device-dead", "out-of-memory")
POINTS: tuple[Point, ...] = get_args(Point)
#: Within a call of the graph, which takes `worker.ml.training.progress.CALL_SECONDS`.
MID_STEP_SECONDS = 0.1
#: A failure after one checkpoint shows whether the next attempt resumes from it.
CHECKPOINTS_BEFORE = 1
#: What TensorFlow raises when a kernel of a GPU has failed.
GPU_FAILURE = "Failed to call DoRnnForward: CUDNN_STATUS_EXECUTION_FAILED [Op:CudnnRNNV3]"


def make_queue(engine: Engine, settings: Settings) -> Queue:
    """A worker's queue; with `QUIRE_FAILPOINT` set, one that fails at the named points."""
    if settings.failpoint is None:
        return Queue(engine, settings)
    return FailingQueue(engine, settings, settings.failpoint)


class FailingQueue(Queue):
    """A queue whose calls kill or hang their process at the named points.

    Args:
        engine: As for `Queue`.
        settings: As for `Queue`.
        prefix: The prefix of the names of jobs that fail.
    """

    def __init__(self, engine: Engine, settings: Settings, prefix: str) -> None:
        super().__init__(engine, settings)
        self._prefix = prefix
        self._checkpoints: Counter[str] = Counter()

    def claim(self, *args: Any, **kwargs: Any) -> list[Claim]:
        """As `Queue.claim`."""
        claims = super().claim(*args, **kwargs)
        for claim in claims:
            self._fail_at(claim, "after-claim", _die)
            self._fail_at(claim, "poison", _die)
        return claims

    def record_progress(self, claim: Claim, *args: Any, **kwargs: Any) -> None:
        """As `Queue.record_progress`, which a training calls between two steps."""
        super().record_progress(claim, *args, **kwargs)
        if self._checkpoints[claim.job_id] >= CHECKPOINTS_BEFORE:
            self._fail_at(claim, "mid-step", threading.Timer(MID_STEP_SECONDS, _die).start)
            self._fail_at(claim, "hung", _hang)
            self._fail_at(claim, "device-error", _fail_like_a_gpu)
        self._fail_at(claim, "device-dead", _fail_like_a_gpu)
        self._fail_at(claim, "out-of-memory", _run_out_of_memory)

    def record_checkpoint(self, claim: Claim, *args: Any, **kwargs: Any) -> str:
        """As `Queue.record_checkpoint`; the bytes are stored by then, the row is not."""
        if self._checkpoints[claim.job_id] >= CHECKPOINTS_BEFORE:
            self._fail_at(claim, "mid-checkpoint", _die)
        checkpoint_id = super().record_checkpoint(claim, *args, **kwargs)
        self._checkpoints[claim.job_id] += 1
        return checkpoint_id

    def finish(self, finished: Any, **kwargs: Any) -> Completion:
        """As `Queue.finish`, which `Queue.succeed` calls too."""
        for claim, *_ in finished:
            self._fail_at(claim, "before-finish", _die)
        completion = super().finish(finished, **kwargs)
        for claim, *_ in finished:
            self._fail_at(claim, "after-finish", _die)
        return completion

    def _fail_at(self, claim: Claim, point: Point, fail: Callable[[], object]) -> None:
        if claim.name == self._prefix + point and (claim.attempt == 1 or point in EVERY_ATTEMPT):
            fail()


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _fail_like_a_gpu() -> None:
    raise tf.errors.InternalError(None, None, GPU_FAILURE)


def _run_out_of_memory() -> None:
    raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")


def _hang() -> None:
    while True:
        time.sleep(1)
