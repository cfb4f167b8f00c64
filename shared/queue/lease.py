"""What a worker writes while it holds a job. Every write is fenced."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, update

from shared import blobs, worker_registry
from shared.queue import sql
from shared.queue.base import QueueBase
from shared.queue.errors import LeaseLost
from shared.queue.history import add_checkpoint, add_event, add_texts, put_metric
from shared.queue.maintenance.retention import checkpoints_to_keep, retire_superfluous
from shared.queue.types import CheckpointRecord, Claim, LeaseDirectives, ProgressReport, TextRecord
from shared.scheduling import cap_checks, policy
from shared.scheduling.candidates import Rules
from shared.tables import Device, Model


class JobLeases(QueueBase):
    """Heartbeats, and the results of a job that runs."""

    def heartbeat(self, claim: Claim) -> LeaseDirectives:
        """Renew the lease of a job and the worker's row.

        Raises:
            LeaseLost: Another attempt has the job, or it has ended. Stop, and write nothing.
        """
        directives = self.heartbeats([claim]).get(claim.job_id)
        if directives is None:
            raise LeaseLost(claim)
        return directives

    def heartbeats(
        self, claims: Sequence[Claim], instance_id: str | None = None
    ) -> dict[str, LeaseDirectives]:
        """Renew the leases of all jobs that one worker holds, in one transaction.

        Args:
            claims: The jobs.
            instance_id: The worker's; its row is left alone if another instance holds its name.

        Returns:
            The directives by the job's id. Jobs whose lease was lost are left out.
        """
        mine = [(claim.job_id, claim.attempt) for claim in claims]
        with self.engine.begin() as connection:
            now = self.clock(connection)
            # Every transaction locks jobs in the order of their ids, so that two can't deadlock.
            held = sql.LOCK_HELD.all(connection, {"mine": mine})
            renewed = {"held": [row.id for row in held], "lease": now + self._lease}
            sql.RENEW.run(connection, renewed)
            yielding = {row.id for row in held if self._must_yield(connection, row, now)}
            drain = connection.execute(
                update(Device)
                .where(
                    Device.id.in_({claim.worker_id for claim in claims}),
                    Device.instance_id.is_not_distinct_from(instance_id),
                )
                .values(heartbeat_at=now)
                .returning(Device.drain_requested_at)
            ).scalar()
        return {
            row.id: LeaseDirectives(
                cancel=row.cancel_requested_at is not None,
                drain=drain is not None,
                pause=row.pause_requested_at is not None,
                yield_=row.id in yielding,
                overdue=row.deadline_seconds is not None
                and row.ran_seconds + _held_seconds(row, now) > row.deadline_seconds,
            )
            for row in held
        }

    def _must_yield(self, connection: Connection, row: Any, now: datetime) -> bool:
        """Whether a job must yield its device to a less served user; a request to yield stays."""
        if row.yield_requested_at is not None or row.kind != "train":
            return row.yield_requested_at is not None
        if _held_seconds(row, now) < self.settings.quantum_seconds:
            return False
        rules = Rules.of(self.settings, "train", device_slots=row.device_slots)
        idle = worker_registry.count_ready(
            connection, "train", now, self.settings.lease_seconds, idle=True
        )
        if not policy.must_yield(connection, row.id, rules, now, idle):
            return False
        connection.execute(sql.ASK_TO_YIELD, {"held_job": row.id, "now": now})
        add_event(connection, row.id, row.attempt, now, "yield_requested")
        return True

    def record_progress(
        self,
        claim: Claim,
        progress: ProgressReport,
        *,
        validated: bool = True,
        piece_losses: Sequence[float | None] | None = None,
    ) -> None:
        """Write a training's progress, and a point of its loss curve.

        Args:
            claim: The training.
            progress: How far it is.
            validated: Whether the validation loss was measured at this step, and so belongs to the
                point; otherwise it is that of the last validation.
            piece_losses: The validation loss of each held-out piece, in the order of the text.

        Raises:
            LeaseLost: As for `heartbeat`.
        """
        with self.engine.begin() as connection:
            self._fence(connection, claim, progress=asdict(progress))
            now, judged = self.clock(connection), (validated, piece_losses)
            put_metric(connection, claim.job_id, progress, now, *judged)

    def record_reading(self, claim: Claim, progress: ProgressReport) -> None:
        """Write how far a score is, which has no loss curve.

        Raises:
            LeaseLost: As for `heartbeat`.
        """
        with self.engine.begin() as connection:
            self._fence(connection, claim, progress=asdict(progress))

    def record_checkpoint(self, claim: Claim, record: CheckpointRecord) -> str:
        """Publish a checkpoint whose bytes `shared.blobs.store` has written; delete old ones.

        Returns:
            The id of this step's checkpoint, which an earlier attempt may have published.

        Raises:
            LeaseLost: As for `heartbeat`.
            shared.blobs.MissingBlob: The bytes were swept meanwhile. Store them again.
            shared.scheduling.errors.StorageFull: The user may not store that much; nothing was
                written.
            shared.scheduling.errors.GroupFull: The members of a group may not store that much
                together; nothing was written.
        """
        with self.engine.begin() as connection:
            self._fence(connection, claim, fruitless_attempts=0)
            blobs.publish(connection, record.sha256, self.clock)
            now = self.clock(connection)
            checkpoint_id, new = add_checkpoint(connection, claim, record, now)
            # Before the check of the cap: what this deletes no longer counts. Claims, too, take
            # the lock of this before a user's.
            retired = retire_superfluous(connection, claim.job_id, checkpoints_to_keep(claim.spec))
            if new:
                cap_checks.check_checkpoint(connection, self.settings, claim.user_id)
                add_event(
                    connection, claim.job_id, claim.attempt, now, "checkpoint", step=record.step
                )
        blobs.drop(self.engine, retired)
        return checkpoint_id

    def record_vocabulary(self, claim: Claim, size: int, characters_per_token: float) -> None:
        """Write the size of the vocabulary that a training has chosen to its model.

        Raises:
            LeaseLost: As for `heartbeat`.
        """
        with self.engine.begin() as connection:
            self._fence(connection, claim, worker_id=claim.worker_id)
            connection.execute(
                update(Model)
                .where(Model.id == claim.model_id)
                .values(vocabulary_size=size, characters_per_token=characters_per_token)
            )

    def record_texts(self, claim: Claim, texts: Sequence[TextRecord]) -> None:
        """Insert texts; a text that an earlier attempt has committed stays as it is.

        Raises:
            LeaseLost: As for `heartbeat`.
        """
        with self.engine.begin() as connection:
            self._fence(connection, claim, fruitless_attempts=0)
            add_texts(connection, claim, texts, self.clock(connection))

    def record_event(self, claim: Claim, type_: str, **data: object) -> None:
        """Add an event to the job's history.

        Raises:
            LeaseLost: As for `heartbeat`.
        """
        with self.engine.begin() as connection:
            self._fence(connection, claim, worker_id=claim.worker_id)
            now = self.clock(connection)
            add_event(connection, claim.job_id, claim.attempt, now, type_, **data)


def _held_seconds(row: Any, now: datetime) -> float:
    """How long a job has held its device."""
    seconds: float = (now - row.claimed_at).total_seconds()
    return seconds
