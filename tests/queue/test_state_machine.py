"""The queue against a reference in Python, through sequences of events that hypothesis generates.

Workers claim, send heartbeats, write, freeze, and write again after their lease has expired; one
runs many generations at once. Users submit, cancel, pause and resume, and an admin promotes. Wakes
are lost or repeated. Time passes and jobs are rescued. Each claim takes the jobs that the policy
names. After each step every row is as in the reference, no cap is exceeded, and no job is lost.
"""

from collections import Counter
from collections.abc import Callable
from datetime import datetime

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import delete, func, select, update

from shared.queue.errors import AlreadyEnded, LeaseLost, PredecessorFailed
from shared.queue.types import Claim, TextRecord, problem
from shared.tables import TERMINAL_STATUSES, GeneratedText, Job, JobEvent, Kind, User
from tests.queue.conftest import QueueHarness
from tests.queue.reference_queue import ReferenceJob, ReferenceQueue

USERS = ("ada", "grace", "hedy")
EXAMPLES, STEPS = 25, 50
SECONDS = (1, 30, 60, 400)
KINDS: tuple[Kind, ...] = ("train", "train", "generate")
GENERATE_WORKERS = ("host/cpu:0/generate", "host/cpu:1/generate")
ERROR = problem("x", "X", "x")
PRIORITY = st.sampled_from((-1, 0, 1))


class QueueMachine(RuleBasedStateMachine):
    """All events of a queue."""

    harness: QueueHarness

    def __init__(self) -> None:
        super().__init__()
        self.reference = ReferenceQueue(self.harness.settings, USERS)
        self.jobs = self.reference.jobs
        self.claims: list[Claim] = []
        self.wakes = 0

    @initialize()
    def empty(self) -> None:
        users = [self.harness.user(name) for name in USERS]
        with self.harness.engine.begin() as connection:
            for table in (GeneratedText, JobEvent, Job):
                connection.execute(delete(table))
            fresh = {"served_seconds": 0.0, "served_at": None, "used_seconds": 0.0}
            connection.execute(update(User).where(User.id.in_(users)).values(**fresh))

    # -- users --------------------------------------------------------------------------------

    @rule(
        user=st.sampled_from(USERS),
        kind=st.sampled_from(KINDS),
        priority=PRIORITY,
        pick=st.none() | st.integers(0, 50),
    )
    def submit(self, user: str, kind: Kind, priority: int, pick: int | None) -> None:
        own = [job.id for job in self.jobs.values() if job.user == user]
        after = own[pick % len(own)] if own and pick is not None else None
        refused = after is not None and self.jobs[after].status in ("failed", "cancelled")
        try:
            [job_id] = self.harness.submit(user, kind, priority=priority, after_job_id=after)
        except PredecessorFailed:
            assert refused
            return
        assert not refused
        waits = after is not None and not self.jobs[after].ended
        self.jobs[job_id] = ReferenceJob(job_id, user, kind, priority, after if waits else None)
        self.wakes += 1

    @precondition(lambda self: self.jobs)
    @rule(pick=st.integers(0, 99), action=st.sampled_from(("cancel", "pause", "resume", "promote")))
    def ask(self, pick: int, action: str) -> None:
        job = list(self.jobs.values())[pick % len(self.jobs)]
        try:
            getattr(self.harness, action)(job.id)
        except AlreadyEnded:
            assert job.ended
            return
        assert not job.ended
        if action == "promote":
            job.promoted_at = job.promoted_at or self.now
        elif action == "cancel":
            if job.status == "running":
                job.cancel = True
            else:
                self.reference.end(job, "cancelled", self.now)
        elif job.status == "running":
            job.pause = action == "pause"
        else:
            job.status = "paused" if action == "pause" else "queued"
            self.wakes += action == "resume"

    # -- wakes --------------------------------------------------------------------------------

    @precondition(lambda self: self.wakes)
    @rule()
    def lose_a_wake(self) -> None:
        self.wakes -= 1

    @precondition(lambda self: self.wakes)
    @rule()
    def repeat_a_wake(self) -> None:
        self.wakes += 1

    @precondition(lambda self: self.wakes)
    @rule(limit=st.integers(1, 3))
    def claim(self, limit: int) -> None:
        self.wakes -= 1
        self._claimed(
            self.reference.next("train", limit, self.now), self.harness.claim(limit=limit)
        )

    @precondition(lambda self: self.wakes)
    @rule(worker=st.sampled_from(GENERATE_WORKERS), limit=st.integers(1, 5))
    def claim_texts(self, worker: str, limit: int) -> None:
        self.wakes -= 1
        mine = self.reference.running("generate", worker)
        if any(claim.alone for claim in self.claims if self.jobs[claim.job_id] in mine):
            return  # a worker claims nothing beside a job that must run alone
        expected = self.reference.next("generate", limit, self.now, busy=bool(mine))
        claims = self.harness.queue.claim("generate", worker, limit, busy=bool(mine))
        self._claimed(expected, claims)

    def _claimed(self, expected: list[ReferenceJob], claims: list[Claim]) -> None:
        assert [claim.job_id for claim in claims] == [job.id for job in expected]
        self.reference.claim(claims, self.now)
        self.claims += claims

    # -- workers, including those whose lease has expired --------------------------------------

    @precondition(lambda self: self.claims)
    @rule(pick=st.integers(0, 99))
    def heartbeat(self, pick: int) -> None:
        claim, job, is_held = self._held(pick)
        if not is_held:
            self._refused(lambda: self.harness.queue.heartbeat(claim))
            return
        directives = self.harness.queue.heartbeat(claim)
        assert (directives.cancel, directives.pause) == (job.cancel, job.pause)
        job.lease = self.reference.lease(self.now)
        if directives.yield_:
            assert job.claimed is not None
            held_seconds = (self.harness.clock.now - job.claimed).total_seconds()
            assert held_seconds >= self.harness.settings.quantum_seconds
            self.harness.queue.release(claim, "yielded")
            self.reference.release(job, self.now)

    @precondition(lambda self: self.claims)
    @rule(pick=st.integers(0, 99))
    def write(self, pick: int) -> None:
        claim, job, is_held = self._held(pick)
        text = TextRecord(job.texts, "a", "b", 0.5, None, None, 1, "length", None)
        if not is_held:
            self._refused(lambda: self.harness.queue.record_texts(claim, [text]))
            return
        self.harness.queue.record_texts(claim, [text])
        job.texts, job.fruitless = job.texts + 1, 0

    @precondition(lambda self: self.claims)
    @rule(
        pick=st.integers(0, 99),
        how=st.sampled_from(("succeed", "succeed", "fail", "cancel_claimed", "release")),
    )
    def end(self, pick: int, how: str) -> None:
        claim, job, is_held = self._held(pick)
        queue = self.harness.queue
        write = {
            "succeed": lambda: queue.succeed(claim),
            "fail": lambda: queue.fail(claim, ERROR),
            "cancel_claimed": lambda: queue.cancel_claimed(claim),
            "release": lambda: queue.release(claim),
        }[how]
        if not is_held:
            self._refused(write)
            return
        write()
        if how == "release":
            self.reference.release(job, self.now)
        else:
            statuses = {"succeed": "succeeded", "fail": "failed", "cancel_claimed": "cancelled"}
            self.reference.end(job, statuses[how], self.now)

    # -- time ---------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from(SECONDS))
    def pass_time(self, seconds: int) -> None:
        self.harness.clock.move(seconds)

    @rule()
    def rescue(self) -> None:
        rescued = {rescue.job_id: rescue.outcome for rescue in self.harness.queue.rescue()}
        lost = self.reference.rescue(self.now)
        assert rescued == {job_id: self.jobs[job_id].status for job_id in lost}
        self.wakes += len(self.harness.queue.waiting(0))

    # -- invariants ---------------------------------------------------------------------------

    @invariant()
    def every_row_is_as_in_the_reference(self) -> None:
        columns = (
            Job.id,
            Job.status,
            Job.attempt,
            Job.fruitless_attempts,
            Job.alone,
            Job.blocked_by,
        )
        with self.harness.engine.connect() as connection:
            rows = {row.id: tuple(row)[1:] for row in connection.execute(select(*columns))}
            texts = connection.scalar(select(func.count()).select_from(GeneratedText))
        assert rows == {
            job.id: (job.status, job.attempt, job.fruitless, job.alone, job.after)
            for job in self.jobs.values()
        }
        assert texts == sum(job.texts for job in self.jobs.values())

    @invariant()
    def no_cap_is_exceeded(self) -> None:
        running = Counter(job.user for job in self.reference.running("train"))
        cap = self.harness.settings.max_running_per_user
        assert all(count <= cap for count in running.values())

    def teardown(self) -> None:
        """Check that every job left ends once workers keep claiming."""
        for job in self.jobs.values():
            if job.status == "paused":
                self.harness.resume(job.id)
        for _ in range(4 * len(self.jobs) + 4):
            self.harness.clock.move(61)
            self.harness.queue.rescue()
            for kind in KINDS:
                for claim in self.harness.claim(kind, limit=9):
                    self.harness.queue.succeed(claim)
        with self.harness.engine.connect() as connection:
            statuses = set(connection.scalars(select(Job.status)))
        assert statuses <= set(TERMINAL_STATUSES), statuses

    # -- helpers --------------------------------------------------------------------------------

    @property
    def now(self) -> datetime:
        return self.harness.clock.now

    def _held(self, pick: int) -> tuple[Claim, ReferenceJob, bool]:
        claim = self.claims[pick % len(self.claims)]
        job = self.jobs[claim.job_id]
        return claim, job, job.status == "running" and job.attempt == claim.attempt

    def _refused(self, write: Callable[[], object]) -> None:
        with pytest.raises(LeaseLost):
            write()


@pytest.mark.slow
def test_the_queue_behaves_like_the_reference(harness: QueueHarness) -> None:
    class OnThisDatabase(QueueMachine):
        pass

    OnThisDatabase.harness = harness
    run_state_machine_as_test(
        OnThisDatabase,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
