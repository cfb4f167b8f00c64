"""The statements of submission, claim, heartbeat and completion, built once.

Building a statement takes SQLAlchemy longer than running it takes the database, and these run
between a request and its text.
"""

from typing import Any

from sqlalchemy import bindparam, func, insert, or_, select, text, tuple_, update

from shared.prepared import Prepared
from shared.tables import (
    MUST_START,
    RUNNABLE,
    RUNNING,
    WAITING,
    Checkpoint,
    Device,
    Job,
    UtcDateTime,
)

#: Insert jobs, given their columns.
SUBMIT = Prepared(insert(Job))
#: Whether any job of `kind` is runnable.
ANY_RUNNABLE = Prepared(
    select(Job.id).where(Job.kind == bindparam("kind"), text(RUNNABLE)).limit(1)
)
#: Lease those of `picked` that may still start. Also takes `charged`, `device_slots`, `worker`,
#: `lease`, `now`.
CLAIM = Prepared(
    update(Job)
    .where(
        Job.id.in_(bindparam("picked", expanding=True)),
        Job.status == "queued",
        # As in `LOCK_OVERDUE`: a job that has started in time may continue later.
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
        device_slots=bindparam("device_slots"),
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
#: Set the `checkpoint` of `jobs`, generations claimed in this transaction.
SET_CHECKPOINT = Prepared(
    update(Job)
    .where(Job.id.in_(bindparam("jobs", expanding=True)))
    .values(checkpoint_id=bindparam("checkpoint"))
)
#: What tells which checkpoints the `picked` generations would load.
NETWORK_NEEDS = select(Job.id, Job.user_id, Job.model_id, Job.checkpoint_id, Job.spec).where(
    Job.id.in_(bindparam("picked", expanding=True))
)
#: The sizes of the files of `checkpoints`.
CHECKPOINT_SIZES = Prepared(
    select(Checkpoint.id, Checkpoint.size_bytes).where(
        Checkpoint.id.in_(bindparam("checkpoints", expanding=True))
    )
)
#: Those of `picked` that must not share a batch.
MUST_RUN_ALONE = select(Job.id).where(Job.id.in_(bindparam("picked", expanding=True)), Job.alone)
#: The fence: `held_attempt` still holds `held_job`.
_HELD = (
    Job.id == bindparam("held_job"),
    Job.attempt == bindparam("held_attempt"),
    Job.status == "running",
)
#: Write columns of a held job.
FENCED = update(Job).where(*_HELD)
#: The requests of a held job's owner, locked until the commit.
LOCK_REQUESTS = (
    select(Job.pause_requested_at, Job.cancel_requested_at).where(*_HELD).with_for_update()
)
#: What becomes of a job that is taken from its worker, given `new_status`, `ended_at` and
#: `held_seconds`.
_TAKEN: Any = {
    "status": bindparam("new_status"),
    "lease_expires_at": None,
    "yield_requested_at": None,
    "pause_requested_at": None,
    "finished_at": bindparam("ended_at", type_=UtcDateTime),
    "ran_seconds": Job.ran_seconds + bindparam("held_seconds"),
}
#: Take a held job from its worker, and return what is counted of it.
END_COUNTED = (
    update(Job)
    .where(*_HELD)
    .values(**_TAKEN)
    .returning(Job.kind, Job.created_at, Job.started_at, Job.ran_seconds, Job.spec, Job.progress)
)
#: Take from their workers the jobs `ended`, which `LOCK_ENDING` has locked.
END = Prepared(update(Job).where(Job.id.in_(bindparam("ended", expanding=True))).values(**_TAKEN))
#: The fence of many ends: those of the jobs `mine` that run, each with the attempt that holds it;
#: locked until the commit. For pairs with their attempts, PostgreSQL would plan it anew each time.
LOCK_ENDING = Prepared(
    select(Job.id, Job.attempt, Job.created_at, Job.started_at, Job.ran_seconds, Job.progress)
    .where(
        Job.id.in_(bindparam("mine", expanding=True)),
        Job.status == "running",
    )
    .order_by(Job.id)
    .with_for_update()
)
#: What a heartbeat needs of `mine`, pairs of a job and the attempt that holds it.
LOCK_HELD = Prepared(
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
        Job.device_slots,
    )
    .where(
        tuple_(Job.id, Job.attempt).in_(bindparam("mine", expanding=True)),
        Job.status == "running",
    )
    .order_by(Job.id)
    .with_for_update()
)
#: Renew the leases of `held`, jobs that `LOCK_HELD` has locked.
RENEW = Prepared(
    update(Job)
    .where(Job.id.in_(bindparam("held", expanding=True)))
    .values(lease_expires_at=bindparam("lease", type_=UtcDateTime))
)
#: Ask one of them, `held_job`, to yield its device.
ASK_TO_YIELD = (
    update(Job)
    .where(Job.id == bindparam("held_job"))
    .values(yield_requested_at=bindparam("now", type_=UtcDateTime))
)
#: Generations whose leases end before `since`: no heartbeat has renewed them.
_STALE = (
    Job.kind == "generate",
    text(RUNNING),
    Job.lease_expires_at < bindparam("since", type_=UtcDateTime),
)
#: How many of them each worker has.
STALE_GENERATIONS_BY_WORKER = (
    select(Job.worker_id, func.count()).where(*_STALE).group_by(Job.worker_id)
)
#: Those of `workers` that may share a batch; rows that others have locked are left out.
LOCK_BATCH_MATES = (
    select(Job.id)
    .where(*_STALE, Job.worker_id.in_(bindparam("workers", expanding=True)), ~Job.alone)
    .order_by(Job.id)
    .with_for_update(skip_locked=True)
)
#: Unblock the jobs that waited for `ended`, jobs that have succeeded.
UNBLOCK = Prepared(
    update(Job)
    .where(Job.blocked_by.in_(bindparam("ended", expanding=True)))
    .values(blocked_by=None)
    .returning(Job.id, Job.attempt, Job.after_job_id)
)
#: The jobs that new jobs wait for, given their ids, `jobs`.
LOCK_PREDECESSORS = (
    select(Job.id, Job.user_id, Job.status)
    .where(Job.id.in_(bindparam("jobs", expanding=True)))
    .order_by(Job.id)
    .with_for_update()
)
#: The jobs that wait for `ended`, jobs that will never succeed.
LOCK_DEPENDENTS = (
    select(Job.id, Job.kind, Job.attempt, Job.blocked_by)
    .where(Job.blocked_by.in_(bindparam("ended", expanding=True)))
    .order_by(Job.id)
    .with_for_update()
)
#: The jobs that had to start before `now` and have not.
LOCK_OVERDUE = (
    select(Job.id, Job.kind, Job.attempt, Job.start_before)
    .where(Job.start_before < bindparam("now", type_=UtcDateTime), text(MUST_START))
    # Ordered by id, PostgreSQL would scan the primary key from its beginning.
    .order_by(Job.start_before)
    .limit(bindparam("limit"))
    .with_for_update(skip_locked=True)
)
#: Fail `job`, which waits, given `problem` and `now`.
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
#: Say which job `worker` runs now.
SET_CURRENT_JOB = Prepared(
    update(Device)
    .where(Device.id == bindparam("worker"))
    .values(
        current_job_id=bindparam("current_job_id"),
        heartbeat_at=bindparam("now", type_=UtcDateTime),
    )
)
#: Say that `worker` no longer runs any of `ended`.
CLEAR_CURRENT_JOB = Prepared(
    update(Device)
    .where(
        Device.id == bindparam("worker"),
        Device.current_job_id.in_(bindparam("ended", expanding=True)),
    )
    .values(current_job_id=None)
)
