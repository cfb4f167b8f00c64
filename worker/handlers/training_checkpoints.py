"""Saves and finds a training's checkpoints."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace

import structlog

from shared import blobs
from shared.free_disk import DiskLow, check_free_disk
from shared.queue import Queue
from shared.queue.types import CheckpointRecord
from worker.data import checkpoints
from worker.data.checkpoints import StoredCheckpoint
from worker.execution.lease import Lease
from worker.handlers.job_history import record_event
from worker.ml.checkpoint import TrainingState, digest, pack

#: How often a checkpoint that waits for free disk looks for it.
DISK_SECONDS = 2.0

log = structlog.get_logger(__name__)


class TrainingCheckpoints:
    """The checkpoints of one running training.

    A checkpoint whose bytes are missing or damaged is recorded in the job's history and skipped.

    Args:
        queue: The queue.
        lease: The job's lease.
    """

    def __init__(self, queue: Queue, lease: Lease) -> None:
        self._queue = queue
        self._lease = lease
        self._job_id = lease.claim.job_id

    def save(self, state: TrainingState, *, validated: bool) -> str:
        """Store a state and publish it as a checkpoint of the job.

        Args:
            state: From `worker.ml.training.trainer.Trainer.state`.
            validated: Whether its validation loss was measured with these very weights.

        Returns:
            The checkpoint's id.

        Raises:
            LeaseLost: Nothing was published.
        """
        data = pack(state)
        record = CheckpointRecord(
            step=state.meta["step"],
            epoch=state.meta["epoch"],
            loss=state.meta["loss"],
            val_loss=state.meta["val_loss"] if validated else None,
            digest=digest(state),
            sha256="",
            size_bytes=len(data),
            fingerprint=state.meta["fingerprint"],
            exact=bool(state.meta.get("exact", True)),
        )

        def record_delay(reason: str, seconds: float) -> None:
            delay = {"step": record.step, "reason": reason, "seconds": round(seconds, 1)}
            record_event(self._queue, self._lease, "checkpoint_held_up", **delay)

        return self._lease.persist(lambda: self._store(record, data), on_delayed=record_delay)

    def _store(self, record: CheckpointRecord, data: bytes) -> str:
        while True:
            self._lease.check_lost()
            self._wait_for_disk(record.step)
            try:
                with blobs.stored(self._queue.engine, data) as sha256:
                    return self._queue.record_checkpoint(
                        self._lease.claim, replace(record, sha256=sha256)
                    )
            except blobs.MissingBlob:
                # Another process has dropped the same bytes before the row came.
                continue

    def _wait_for_disk(self, step: int) -> None:
        """Wait while the disk has too little room; the job's history says so.

        Raises:
            LeaseLost: Another attempt may have the job.
            CancelRequested: The owner has cancelled the job.
            DeadlineReached: The job has run for its `deadline_seconds`.
            Interrupted: The job goes on another time, from an earlier checkpoint.
        """
        told = False
        while True:
            try:
                return check_free_disk(self._queue.engine, self._queue.settings)
            except DiskLow as error:
                reason = str(error)
            if not told:
                log.warning("checkpoint_waits", step=step, reason=reason)
                record_event(self._queue, self._lease, "checkpoint_waits", step=step, reason=reason)
                told = True
            self._lease.check()
            time.sleep(DISK_SECONDS)

    def newest(self) -> TrainingState | None:
        """The newest usable checkpoint of the job."""
        return self._first_usable(checkpoints.newest_first(self._queue.engine, self._job_id))

    def recall(self, job_ids: Sequence[str], step: int) -> TrainingState | None:
        """The checkpoint of a step, or else the best usable one of the job.

        Args:
            job_ids: The trainings that may have the checkpoint of that step.
            step: The step.
        """
        engine = self._queue.engine
        stored = checkpoints.at_step(engine, job_ids, step)
        if stored is not None and (state := self._load(stored)) is not None:
            return state
        best = checkpoints.best_first(engine, self._job_id)
        return self._first_usable(stored for stored in best if stored.step != step)

    def find(self, step: int) -> StoredCheckpoint | None:
        """The row of the job's checkpoint of a step."""
        return checkpoints.at_step(self._queue.engine, [self._job_id], step)

    def _first_usable(self, stored: Iterable[StoredCheckpoint]) -> TrainingState | None:
        states = map(self._load, stored)
        return next((state for state in states if state is not None), None)

    def _load(self, stored: StoredCheckpoint) -> TrainingState | None:
        try:
            return checkpoints.load(self._queue.engine, stored.sha256)
        except checkpoints.UNUSABLE as error:
            reason = str(error)
            log.error("checkpoint_unusable", checkpoint=stored.id, reason=reason)
            record_event(
                self._queue, self._lease, "checkpoint_unusable", step=stored.step, reason=reason
            )
        return None
