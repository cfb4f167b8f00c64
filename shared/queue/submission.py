"""Submit a job, in the caller's transaction. Wake the workers after its commit."""

from dataclasses import asdict

from sqlalchemy import Connection, select

from shared.ids import new_id
from shared.queue import sql
from shared.queue.base import QueueBase
from shared.queue.errors import NoSuchJob, PredecessorFailed
from shared.queue.history import add_event
from shared.queue.types import Submission, SubmittedJob
from shared.scheduling import caps
from shared.tables import Job


class JobSubmission(QueueBase):
    """Submission of jobs."""

    def submit(self, connection: Connection, submission: Submission) -> SubmittedJob:
        """Insert a job into the caller's transaction.

        Raises:
            shared.scheduling.errors.CapReached: The user has reached a cap; the subclass says
                which.
            NoSuchJob: The user has no job of the id `after_job_id`.
            PredecessorFailed: That job has failed or been cancelled.
        """
        # Lock the predecessor before the user, as the end of a run does.
        blocked_by = self._blocker(connection, submission)
        now = self.clock(connection)
        # The lock on the user's row serialises their submissions, so that no race passes a cap.
        caps.check_job(connection, self.settings, submission.user_id, submission.kind, now)
        job = SubmittedJob(**asdict(submission), id=new_id(), created_at=now, blocked_by=blocked_by)
        connection.execute(sql.SUBMIT, asdict(job))
        add_event(connection, job.id, 0, now, "submitted")
        return job

    def _blocker(self, connection: Connection, submission: Submission) -> str | None:
        """Return the id of the job that a new job waits for, locked so that it can't end now."""
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
            raise PredecessorFailed(after, row.status)
        return None if row.status == "succeeded" else after
