"""The statements of a submission, a claim and an end, built once.

Writing a statement down takes SQLAlchemy longer than the database takes to run it, and these
lie between a request and its text.
"""

from sqlalchemy import bindparam, func, insert, or_, select, text, tuple_, update

from shared.tables import MUST_START, RUNNING, WAITING, Device, Job, UtcDateTime

#: A job's row, from its columns.
SUBMIT = insert(Job)
#: Lease the picked jobs that may still start: `picked`, `charged`, `worker`, `lease`, `now`.
CLAIM = (
    update(Job)
    .where(
        Job.id.in_(bindparam("picked", expanding=True)),
        Job.status == "queued",
        # As `OVERDUE` has it: one that has started in time may go on later.
        or_(
            Job.started_at.is_not(None),
            Job.start_before.is_(None),
            Job.start_before >= bindparam("now", type_=UtcDateTime),
        ),
    )
    .values(
        status="running",
        attempt=Job.attempt + 1,
        fruitless_attempts=Job.fruitless_attempts + 1,
        charged_seconds=bindparam("charged"),
        yield_requested_at=None,
        worker_id=bindparam("worker"),
        lease_expires_at=bindparam("lease"),
        started_at=func.coalesce(Job.started_at, bindparam("now", type_=UtcDateTime)),
        claimed_at=bindparam("now", type_=UtcDateTime),
    )
    .returning(
        Job.id,
        Job.attempt,
        Job.name,
        Job.user_id,
        Job.spec,
        Job.model_id,
        Job.corpus_id,
        Job.alone,
        Job.checkpoint_id,
    )
)
#: Let `jobs`, generations that were claimed in this transaction, write with `checkpoint`.
WRITE_WITH = (
    update(Job)
    .where(Job.id.in_(bindparam("jobs", expanding=True)))
    .values(checkpoint_id=bindparam("checkpoint"))
)
#: Those of `picked` that share a batch with nobody.
ALONE = select(Job.id).where(Job.id.in_(bindparam("picked", expanding=True)), Job.alone)
#: A job while `held_job` is still run by `held_attempt`: the fence.
_HELD = (
    Job.id == bindparam("held_job"),
    Job.attempt == bindparam("held_attempt"),
    Job.status == "running",
)
#: Write columns of a job that is held.
FENCED = update(Job).where(*_HELD)
#: What the owner of a job that is held has asked of it, and keep it so until the commit.
ASKED_OF = select(Job.pause_requested_at, Job.cancel_requested_at).where(*_HELD).with_for_update()
#: Take a job that is held from its worker: `becomes`, `ended_at`, `held_seconds`.
ENDED = (
    update(Job)
    .where(*_HELD)
    .values(
        status=bindparam("becomes"),
        lease_expires_at=None,
        yield_requested_at=None,
        pause_requested_at=None,
        finished_at=bindparam("ended_at", type_=UtcDateTime),
        ran_seconds=Job.ran_seconds + bindparam("held_seconds"),
    )
)
#: What a heartbeat brings back, of `mine`, pairs of a job and the attempt that holds it.
ASKED = (
    select(
        Job.id,
        Job.kind,
        Job.attempt,
        Job.cancel_requested_at,
        Job.pause_requested_at,
        Job.yield_requested_at,
        Job.claimed_at,
        Job.ran_seconds,
        Job.deadline_seconds,
    )
    .where(
        tuple_(Job.id, Job.attempt).in_(bindparam("mine", expanding=True)),
        Job.status == "running",
    )
    .order_by(Job.id)
    .with_for_update()
)
#: Renew the leases of `held`, jobs that `ASKED` has locked.
RENEW = (
    update(Job)
    .where(Job.id.in_(bindparam("held", expanding=True)))
    .values(lease_expires_at=bindparam("lease", type_=UtcDateTime))
)
#: And ask one of them, `held_job`, to give its device up.
ASK_TO_YIELD = (
    update(Job)
    .where(Job.id == bindparam("held_job"))
    .values(yield_requested_at=bindparam("now", type_=UtcDateTime))
)
#: Generations whose leases end before `since`: nobody beats for them.
_SILENT = (
    Job.kind == "generate",
    text(RUNNING),
    Job.lease_expires_at < bindparam("since", type_=UtcDateTime),
)
#: How many of them each worker has.
SILENT = select(Job.worker_id, func.count()).where(*_SILENT).group_by(Job.worker_id)
#: Those of `workers` that may share a batch, locked but for those that another is writing.
MATES = (
    select(Job.id)
    .where(*_SILENT, Job.worker_id.in_(bindparam("workers", expanding=True)), ~Job.alone)
    .order_by(Job.id)
    .with_for_update(skip_locked=True)
)
#: Let those go on that waited for `ended`, a list of jobs that have succeeded.
UNBLOCK = (
    update(Job)
    .where(Job.blocked_by.in_(bindparam("ended", expanding=True)))
    .values(blocked_by=None)
    .returning(Job.id, Job.attempt, Job.after_job_id)
)
#: Who waits for `ended`, a list of jobs that will never succeed.
FOLLOWERS = (
    select(Job.id, Job.attempt, Job.blocked_by)
    .where(Job.blocked_by.in_(bindparam("ended", expanding=True)))
    .order_by(Job.id)
    .with_for_update()
)
#: Who had to start before `now` and has not.
OVERDUE = (
    select(Job.id, Job.attempt, Job.start_before)
    .where(Job.start_before < bindparam("now", type_=UtcDateTime), text(MUST_START))
    # By id, PostgreSQL would read the primary key from its beginning.
    .order_by(Job.start_before)
    .limit(bindparam("limit"))
    .with_for_update(skip_locked=True)
)
#: End `job` badly while it waits: `problem`, `now`.
FAIL_WAITING = (
    update(Job)
    .where(Job.id == bindparam("job"), text(WAITING))
    .values(
        status="failed",
        error=bindparam("problem"),
        finished_at=bindparam("now", type_=UtcDateTime),
        blocked_by=None,
    )
)
#: A worker's row: what `worker` runs now.
OCCUPY = update(Device).where(Device.id == bindparam("worker"))
#: And that it no longer runs `held_job`.
LEAVE = (
    update(Device)
    .where(Device.id == bindparam("worker"), Device.current_job_id == bindparam("held_job"))
    .values(current_job_id=None)
)
