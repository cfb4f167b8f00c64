"""Cancel, pause, resume and promote a job, in the caller's transaction.

After its commit, wake the workers where a job may run now.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select, update

from shared.counters import ENDED, Tally
from shared.queue.base import QueueBase
from shared.queue.errors import AlreadyEnded, NoSuchJob
from shared.queue.history import add_event
from shared.tables import TERMINAL_STATUSES, Job, Status


class JobControl(QueueBase):
    """What owners and admins can ask of a job that has not ended."""

    def cancel(self, connection: Connection, job_id: str) -> Status:
        """End a waiting job, or ask the worker of a running one to stop.

        Returns:
            ``cancelled``, or ``running`` while the worker has yet to stop.

        Raises:
            NoSuchJob: There is no job of that id.
            AlreadyEnded: The job has ended.
        """
        row = _lock_live(connection, job_id)
        now = self.clock(connection)
        if row.status == "running":
            if row.cancel_requested_at is None:
                _write(connection, job_id, cancel_requested_at=now)
                add_event(connection, job_id, row.attempt, now, "cancel_requested")
            return "running"
        _write(
            connection,
            job_id,
            status="cancelled",
            cancel_requested_at=now,
            finished_at=now,
            blocked_by=None,
        )
        add_event(connection, job_id, row.attempt, now, "cancelled")
        tally = Tally()
        tally.add(ENDED, row.kind, "cancelled", "")
        self._fail_dependents(connection, {job_id: "cancelled"}, now, tally)
        tally.post(connection)
        return "cancelled"

    def pause(self, connection: Connection, job_id: str) -> Status:
        """Pause a queued job, or ask the worker of a running one to release it.

        Returns:
            ``paused``, or ``running`` while the worker has yet to write its checkpoint.

        Raises:
            NoSuchJob: There is no job of that id.
            AlreadyEnded: The job has ended.
        """
        row = _lock_live(connection, job_id)
        now = self.clock(connection)
        if row.status == "running":
            if row.pause_requested_at is None:
                _write(connection, job_id, pause_requested_at=now)
                add_event(connection, job_id, row.attempt, now, "pause_requested")
        elif row.status == "queued":
            _write(connection, job_id, status="paused")
            add_event(connection, job_id, row.attempt, now, "paused")
        return "running" if row.status == "running" else "paused"

    def resume(self, connection: Connection, job_id: str) -> Status:
        """Queue a paused job again, or withdraw the pause request of a running one.

        Returns:
            ``queued`` or ``running``.

        Raises:
            NoSuchJob: There is no job of that id.
            AlreadyEnded: The job has ended.
        """
        row = _lock_live(connection, job_id)
        now = self.clock(connection)
        if row.status == "paused":
            _write(connection, job_id, status="queued")
            add_event(connection, job_id, row.attempt, now, "resume_requested")
        elif row.pause_requested_at is not None:
            _write(connection, job_id, pause_requested_at=None)
            add_event(connection, job_id, row.attempt, now, "resume_requested")
        return "running" if row.status == "running" else "queued"

    def promote(self, connection: Connection, job_id: str) -> Status:
        """Put a job ahead of all others, whatever its owner was served; the owner's caps hold.

        Returns:
            Its status.

        Raises:
            NoSuchJob: There is no job of that id.
            AlreadyEnded: The job has ended.
        """
        row = _lock_live(connection, job_id)
        if row.lifted_at is None:
            now: datetime = self.clock(connection)
            _write(connection, job_id, lifted_at=now)
            add_event(connection, job_id, row.attempt, now, "lifted")
        status: Status = row.status
        return status


def _lock_live(connection: Connection, job_id: str) -> Any:
    """Lock a job and return its row; refuse one that has ended."""
    row = connection.execute(
        select(
            Job.kind,
            Job.status,
            Job.attempt,
            Job.cancel_requested_at,
            Job.pause_requested_at,
            Job.lifted_at,
        )
        .where(Job.id == job_id)
        .with_for_update()
    ).one_or_none()
    if row is None:
        raise NoSuchJob(job_id)
    if row.status in TERMINAL_STATUSES:
        raise AlreadyEnded(job_id, row.status)
    return row


def _write(connection: Connection, job_id: str, **values: object) -> None:
    connection.execute(update(Job).where(Job.id == job_id).values(**values))
