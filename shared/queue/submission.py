"""What people ask of the queue: submit, cancel, pause, resume, lift.

Each works inside the caller's transaction; wake the workers after its commit.
"""

from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select, update

from shared.ids import new_id
from shared.queue import sql
from shared.queue.base import Base
from shared.queue.errors import AlreadyEnded, NoSuchJob, WaitsInVain
from shared.queue.history import add_event
from shared.queue.types import Submission
from shared.scheduling import caps
from shared.tables import TERMINAL_STATUSES, Job


class Asking(Base):
    """The queue as the API uses it."""

    def submit(self, connection: Connection, submission: Submission) -> str:
        """Insert a job into the caller's transaction. Wake the workers after the commit.

        Returns:
            The job's id.

        Raises:
            shared.queue.errors.CapReached: And what else `enter` raises.
        """
        return str(self.enter(connection, submission)["id"])

    def enter(self, connection: Connection, submission: Submission) -> dict[str, Any]:
        """As `submit`, for who shows the job at once.

        Returns:
            What its row has now, but for what every new row has.

        Raises:
            CapReached: The user has as much as they may; which of its kinds says of what.
            NoSuchJob: They have no job that this one could come after.
            WaitsInVain: What it is to come after has failed or been cancelled.
        """
        # The job before the user: an end locks them in this order too.
        blocked_by = self._blocker(connection, submission)
        now = self.clock(connection)
        # The user's row serialises their submissions, so that no race passes a cap.
        caps.check_job(connection, self.settings, submission.user_id, submission.kind, now)
        job_id = new_id()
        values = {
            "id": job_id,
            "status": "queued",
            "created_at": now,
            "blocked_by": blocked_by,
            **asdict(submission),
        }
        connection.execute(sql.SUBMIT, values)
        add_event(connection, job_id, 0, now, "submitted")
        return values

    def cancel(self, connection: Connection, job_id: str) -> str:
        """End a waiting job, or ask the worker of a running one to stop.

        Returns:
            ``cancelled``, or ``running`` where the worker has still to obey.

        Raises:
            NoSuchJob: There is none of that id.
            AlreadyEnded: It has ended; terminal states are final.
        """
        row = _live(connection, job_id)
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
        self._fail_followers(connection, {job_id: "cancelled"}, now)
        return "cancelled"

    def pause(self, connection: Connection, job_id: str) -> str:
        """Let a queued job stand still, or ask the worker of a running one to put it down.

        Returns:
            ``paused``, or ``running`` where the worker has still to write its checkpoint.

        Raises:
            NoSuchJob: There is none of that id.
            AlreadyEnded: It has ended.
        """
        row = _live(connection, job_id)
        now = self.clock(connection)
        if row.status == "running":
            if row.pause_requested_at is None:
                _write(connection, job_id, pause_requested_at=now)
                add_event(connection, job_id, row.attempt, now, "pause_requested")
        elif row.status == "queued":
            _write(connection, job_id, status="paused")
            add_event(connection, job_id, row.attempt, now, "paused")
        return "running" if row.status == "running" else "paused"

    def resume(self, connection: Connection, job_id: str) -> str:
        """Put a paused job back into the line, or take back that a running one is to pause.

        Returns:
            ``queued`` or ``running``.

        Raises:
            NoSuchJob: There is none of that id.
            AlreadyEnded: It has ended.
        """
        row = _live(connection, job_id)
        now = self.clock(connection)
        if row.status == "paused":
            _write(connection, job_id, status="queued")
            add_event(connection, job_id, row.attempt, now, "resume_requested")
        elif row.pause_requested_at is not None:
            _write(connection, job_id, pause_requested_at=None)
            add_event(connection, job_id, row.attempt, now, "resume_requested")
        return "running" if row.status == "running" else "queued"

    def lift(self, connection: Connection, job_id: str) -> str:
        """Put a job above all others, whoever was served less; its owner's caps hold.

        Returns:
            Its status.

        Raises:
            NoSuchJob: There is none of that id.
            AlreadyEnded: It has ended.
        """
        row = _live(connection, job_id)
        if row.lifted_at is None:
            now: datetime = self.clock(connection)
            _write(connection, job_id, lifted_at=now)
            add_event(connection, job_id, row.attempt, now, "lifted")
        return str(row.status)

    def _blocker(self, connection: Connection, submission: Submission) -> str | None:
        """What a new job has to wait for, locked so that it can't end unseen."""
        after = submission.after_job_id
        if after is None:
            return None
        row = connection.execute(
            select(Job.status)
            .where(Job.id == after, Job.user_id == submission.user_id)
            .with_for_update()
        ).one_or_none()
        if row is None:
            raise NoSuchJob(after)
        if row.status in ("failed", "cancelled"):
            raise WaitsInVain(after, row.status)
        return None if row.status == "succeeded" else after


def _live(connection: Connection, job_id: str) -> Any:
    """A job that has not ended, locked."""
    row = connection.execute(
        select(
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
