"""Submit jobs, in the caller's transaction. Wake the workers after its commit."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import datetime

from sqlalchemy import Connection

from shared.clock import read_now_ahead
from shared.ids import new_id
from shared.queue import sql
from shared.queue.base import QueueBase
from shared.queue.errors import NoSuchJob, PredecessorFailed
from shared.queue.history import Event, add_events
from shared.queue.types import Submission, SubmittedJob
from shared.scheduling import cap_checks
from shared.scheduling.errors import CapReached
from shared.tables import Kind

_SUBMISSION = tuple(field.name for field in fields(Submission))
_COLUMNS = tuple(field.name for field in fields(SubmittedJob))


class JobSubmission(QueueBase):
    """Submission of jobs."""

    def submit(
        self, connection: Connection, submission: Submission, job_id: str | None = None
    ) -> SubmittedJob:
        """Insert a job into the caller's transaction.

        Args:
            connection: The transaction.
            submission: The job.
            job_id: Its id, from `shared.ids.new_id`; a new one by default.

        Raises:
            shared.scheduling.errors.CapReached: The user has reached a cap; the subclass says
                which.
            NoSuchJob: The user has no job of the id `after_job_id`.
            PredecessorFailed: That job has failed or been cancelled.
        """
        # Lock the predecessor before the user, as the end of a run does.
        predecessors = _lock_predecessors(connection, [submission])
        blocked_by = _blocker(submission, predecessors)
        now = self.clock(connection)
        # The lock on the user's row serialises their submissions, so that no race passes a cap.
        cap_checks.check_job(connection, self.settings, submission.user_id, submission.kind, now)
        job = _submitted(submission, job_id or new_id(), now, blocked_by)
        self.insert(connection, [job])
        return job

    def admit(
        self, connection: Connection, submissions: Mapping[str, Submission]
    ) -> list[SubmittedJob]:
        """Return those of many jobs that nothing stands against, to be given to `insert`.

        Left out are the jobs of users who would reach a cap, and those after jobs that are missing
        or have failed: `submit` says why.

        Args:
            connection: The transaction; it holds the users and the predecessors from now on.
            submissions: The jobs by their new ids, which are from `shared.ids.new_id`.
        """
        # The locks are taken in the order of `submit`, and each kind in the order of its ids, so
        # that no two transactions wait for each other.
        predecessors = _lock_predecessors(connection, submissions.values())
        self.read_ahead(connection, {submission.user_id for submission in submissions.values()})
        now = self.clock(connection)
        jobs = []
        for job_id, submission in submissions.items():
            try:
                blocked_by = _blocker(submission, predecessors)
            except (NoSuchJob, PredecessorFailed):
                continue
            jobs.append(_submitted(submission, job_id, now, blocked_by))
        return self._within_caps(connection, jobs, now)

    def read_ahead(self, connection: Connection, user_ids: Collection[str]) -> None:
        """Send what `admit` will read of users, who are locked from now on."""
        for user_id in sorted(user_ids):
            cap_checks.read_user_ahead(connection, user_id)
        read_now_ahead(connection)

    def insert(self, connection: Connection, jobs: Sequence[SubmittedJob]) -> None:
        """Insert jobs that `admit` has returned in this transaction."""
        if jobs:
            rows = [{name: getattr(job, name) for name in _COLUMNS} for job in jobs]
            sql.SUBMIT.run(connection, *rows)
            events = [Event(job.id, 0, "submitted") for job in jobs]
            add_events(connection, events, jobs[0].created_at)

    def _within_caps(
        self, connection: Connection, jobs: Sequence[SubmittedJob], now: datetime
    ) -> list[SubmittedJob]:
        """Leave out all jobs of users who may not queue all of theirs; lock the users."""
        counts: dict[tuple[str, Kind], int] = Counter((job.user_id, job.kind) for job in jobs)
        stopped = set()
        for (user_id, kind), count in sorted(counts.items()):
            try:
                cap_checks.check_job(
                    connection, self.settings, user_id, kind, now, count, jobs_at_once=len(jobs)
                )
            except CapReached:
                stopped.add((user_id, kind))
        return [job for job in jobs if (job.user_id, job.kind) not in stopped]


def _lock_predecessors(
    connection: Connection, submissions: Iterable[Submission]
) -> Mapping[tuple[str, str], str]:
    """Lock the jobs that these wait for, so that none ends now.

    Returns:
        Their statuses, by the ids of their owners and their own.
    """
    ids = {submission.after_job_id for submission in submissions} - {None}
    if not ids:
        return {}
    rows = connection.execute(sql.LOCK_PREDECESSORS, {"jobs": list(ids)})
    return {(row.user_id, row.id): row.status for row in rows}


def _blocker(submission: Submission, statuses: Mapping[tuple[str, str], str]) -> str | None:
    """Return the id of the job that a new job waits for, which is locked.

    Raises:
        NoSuchJob: The user has no such job.
        PredecessorFailed: It has failed or been cancelled.
    """
    after = submission.after_job_id
    if after is None:
        return None
    status = statuses.get((submission.user_id, after))
    if status is None:
        raise NoSuchJob(after)
    if status in ("failed", "cancelled"):
        raise PredecessorFailed(after, status)
    return None if status == "succeeded" else after


def _submitted(
    submission: Submission, job_id: str, now: datetime, blocked_by: str | None
) -> SubmittedJob:
    # Unlike `dataclasses.asdict`, this copies no prompt and no spec.
    values = {name: getattr(submission, name) for name in _SUBMISSION}
    return SubmittedJob(**values, id=job_id, created_at=now, blocked_by=blocked_by)
