"""What a worker writes while it holds a job; every write is fenced."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, update

from shared import blobs, worker_registry
from shared.queue import retention, sql
from shared.queue.base import Base
from shared.queue.errors import LeaseLost
from shared.queue.history import add_checkpoint, add_event, add_texts, put_metric
from shared.queue.types import CheckpointRecord, Claim, Orders, Progress, TextRecord
from shared.scheduling import caps, policy
from shared.scheduling.candidates import Rules
from shared.tables import Device, Model


class Holding(Base):
    """The queue as a worker uses it while it runs a job."""

    def heartbeat(self, claim: Claim) -> Orders:
        """Renew the lease and the worker's row, and learn what is asked of the worker.

        Raises:
            LeaseLost: Another attempt has the job, or it has ended: stop, write nothing.
        """
        orders = self.heartbeats([claim]).get(claim.job_id)
        if orders is None:
            raise LeaseLost(claim)
        return orders

    def heartbeats(self, claims: Sequence[Claim]) -> dict[str, Orders]:
        """The same for all jobs that one worker holds, in one transaction.

        Returns:
            What is asked, by the job's id. A job whose lease was lost is not among them.
        """
        mine = [(claim.job_id, claim.attempt) for claim in claims]
        with self.engine.begin() as connection:
            now = self.clock(connection)
            # Locked in one order everywhere, so that two batches can't wait for each other.
            held = connection.execute(sql.ASKED, {"mine": mine}).all()
            renewed = {"held": [row.id for row in held], "lease": now + self._lease}
            connection.execute(sql.RENEW, renewed)
            yielding = {row.id for row in held if self._must_yield(connection, row, now)}
            drain = connection.execute(
                update(Device)
                .where(Device.id.in_({claim.worker_id for claim in claims}))
                .values(heartbeat_at=now)
                .returning(Device.drain_requested_at)
            ).scalar()
        return {
            row.id: Orders(
                cancel=row.cancel_requested_at is not None,
                drain=drain is not None,
                pause=row.pause_requested_at is not None,
                yield_=row.id in yielding,
                overdue=row.deadline_seconds is not None
                and row.ran_seconds + _seconds(row, now) > row.deadline_seconds,
            )
            for row in held
        }

    def _must_yield(self, connection: Connection, row: Any, now: datetime) -> bool:
        """Whether a job is to give its device to somebody less served; what was said stays so."""
        if row.yield_requested_at is not None or row.kind != "train":
            return row.yield_requested_at is not None
        if _seconds(row, now) < self.settings.quantum_seconds:
            return False
        rules = Rules.of(self.settings, "train")
        idle = worker_registry.count_ready(
            connection, "train", now, self.settings.lease_seconds, idle=True
        )
        if not policy.must_yield(connection, row.id, rules, now, idle):
            return False
        connection.execute(sql.ASK_TO_YIELD, {"held_job": row.id, "now": now})
        add_event(connection, row.id, row.attempt, now, "yield_requested")
        return True

    def record_progress(self, claim: Claim, progress: Progress, *, judged: bool = True) -> None:
        """Write where a training stands, and a point of its loss curve.

        Args:
            claim: The training.
            progress: Where it stands.
            judged: Whether its validation loss was measured at this very step, and so belongs
                to the point; else it is that of the last epoch's end.

        Raises:
            LeaseLost: As for `heartbeat`.
        """
        with self.engine.begin() as connection:
            self._fence(connection, claim, progress=asdict(progress))
            put_metric(connection, claim.job_id, progress, self.clock(connection), judged)

    def record_checkpoint(self, claim: Claim, record: CheckpointRecord) -> str:
        """Publish a checkpoint whose bytes `shared.blobs.store` has written, and retire old ones.

        Returns:
            Its id; the first one's where this step has a checkpoint already.

        Raises:
            LeaseLost: As for `heartbeat`.
            shared.blobs.MissingBlob: The bytes were swept away meanwhile: store them again.
            StorageFull: The user may not store so much; nothing was written.
        """
        with self.engine.begin() as connection:
            self._fence(connection, claim, fruitless_attempts=0)
            blobs.publish(connection, record.sha256)
            now = self.clock(connection)
            checkpoint_id, new = add_checkpoint(connection, claim, record, now)
            # Claims take the lock of this before a user's, too; and what it frees is room.
            self._retire(connection, claim.job_id, retention.kept(claim.spec))
            if new:
                caps.check_checkpoint(connection, self.settings, claim.user_id)
                add_event(
                    connection, claim.job_id, claim.attempt, now, "checkpoint", step=record.step
                )
            return checkpoint_id

    def record_vocabulary(self, claim: Claim, size: int, characters_per_token: float) -> None:
        """Tell the model how many tokens its training has chosen, and how long they are.

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
        """Keep texts; one that an earlier attempt has committed stays as it was.

        Raises:
            LeaseLost: As for `heartbeat`.
        """
        with self.engine.begin() as connection:
            self._fence(connection, claim, fruitless_attempts=0)
            add_texts(connection, claim, texts, self.clock(connection))

    def record_event(self, claim: Claim, kind: str, **data: object) -> None:
        """Write into the job's history.

        Raises:
            LeaseLost: As for `heartbeat`.
        """
        with self.engine.begin() as connection:
            self._fence(connection, claim, worker_id=claim.worker_id)
            now = self.clock(connection)
            add_event(connection, claim.job_id, claim.attempt, now, kind, **data)


def _seconds(row: Any, now: datetime) -> float:
    """How long a job has had its device."""
    seconds: float = (now - row.claimed_at).total_seconds()
    return seconds
