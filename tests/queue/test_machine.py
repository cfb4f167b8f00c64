"""The queue against a model of it in Python, through whatever hypothesis thinks of.

Workers claim, beat, write, stop hearing, wake up again and write all the same; people submit,
cancel, pause and resume; wakes are lost and come twice; the clock moves and the sweep runs. After
each step every row is what the model says, no cap is passed, and nothing is lost.
"""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta

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

from shared.queue_errors import AlreadyEnded, LeaseLost, WaitsInVain
from shared.records import Claim, TextRecord, problem
from shared.tables import TERMINAL_STATUSES, GeneratedText, Job, JobEvent, User
from tests.queue.conftest import World

USERS = ("ada", "grace", "hedy")
EXAMPLES, STEPS = 25, 50
SECONDS = (1, 30, 61, 400)
ERROR = problem("x", "X", "x")
PRIORITY = st.sampled_from((-1, 0, 1))


@dataclass
class Known:
    """What the model knows of a job."""

    id: str
    user: str
    priority: int
    after: str | None
    status: str = "queued"
    attempt: int = 0
    fruitless: int = 0
    lease: datetime | None = None
    claimed: datetime | None = None
    cancel: bool = False
    pause: bool = False
    texts: int = 0

    @property
    def ended(self) -> bool:
        return self.status in TERMINAL_STATUSES


class Machine(RuleBasedStateMachine):
    """Everything that may happen to a queue."""

    world: World

    def __init__(self) -> None:
        super().__init__()
        self.jobs: dict[str, Known] = {}
        self.claims: list[Claim] = []
        self.wakes = 0

    @initialize()
    def empty(self) -> None:
        users = [self.world.user(name) for name in USERS]
        with self.world.engine.begin() as connection:
            for table in (GeneratedText, JobEvent, Job):
                connection.execute(delete(table))
            fresh = {"served_seconds": 0.0, "served_at": None, "used_seconds": 0.0}
            connection.execute(update(User).where(User.id.in_(users)).values(**fresh))

    # -- people -------------------------------------------------------------------------------

    @rule(user=st.sampled_from(USERS), priority=PRIORITY, pick=st.none() | st.integers(0, 50))
    def submit(self, user: str, priority: int, pick: int | None) -> None:
        own = [job.id for job in self.jobs.values() if job.user == user]
        after = own[pick % len(own)] if own and pick is not None else None
        vain = after is not None and self.jobs[after].status in ("failed", "cancelled")
        try:
            [job_id] = self.world.submit(user, priority=priority, after_job_id=after)
        except WaitsInVain:
            assert vain
            return
        assert not vain
        waits = after is not None and not self.jobs[after].ended
        self.jobs[job_id] = Known(job_id, user, priority, after if waits else None)
        self.wakes += 1

    @precondition(lambda self: self.jobs)
    @rule(pick=st.integers(0, 99), what=st.sampled_from(("cancel", "pause", "resume")))
    def ask(self, pick: int, what: str) -> None:
        job = list(self.jobs.values())[pick % len(self.jobs)]
        try:
            getattr(self.world, what)(job.id)
        except AlreadyEnded:
            assert job.ended
            return
        assert not job.ended
        if what == "cancel":
            if job.status == "running":
                job.cancel = True
            else:
                self._end(job, "cancelled")
        elif job.status == "running":
            job.pause = what == "pause"
        else:
            job.status = "paused" if what == "pause" else "queued"
            self.wakes += what == "resume"

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
        claims = self.world.claim(limit=limit)
        for claim in claims:
            job = self.jobs[claim.job_id]
            assert job in self._runnable(job.user), "capped, blocked, or not in line"
            best = min(self._runnable(job.user), key=lambda one: (one.priority, one.id))
            assert job is best
            assert claim.attempt == job.attempt + 1
            job.status, job.attempt, job.fruitless = "running", claim.attempt, job.fruitless + 1
            job.lease = self._lease()
            job.claimed = self.world.clock.now
        self.claims += claims
        left = any(self._runnable(user) for user in USERS)
        assert len(claims) == limit or not left, "a claim came back short while there was work"

    # -- workers, those that are late included ------------------------------------------------

    @precondition(lambda self: self.claims)
    @rule(pick=st.integers(0, 99))
    def beat(self, pick: int) -> None:
        claim, job, held = self._held(pick)
        if not held:
            self._refused(lambda: self.world.queue.heartbeat(claim))
            return
        orders = self.world.queue.heartbeat(claim)
        assert (orders.cancel, orders.pause) == (job.cancel, job.pause)
        job.lease = self._lease()
        if orders.yield_:
            assert job.claimed is not None
            held_seconds = (self.world.clock.now - job.claimed).total_seconds()
            assert held_seconds >= self.world.settings.quantum_seconds
            self.world.queue.release(claim, "yielded")
            self._put_down(job)

    @precondition(lambda self: self.claims)
    @rule(pick=st.integers(0, 99))
    def write(self, pick: int) -> None:
        claim, job, held = self._held(pick)
        text = TextRecord(job.texts, "a", "b", 0.5, None, None, 1, "length", None)
        if not held:
            self._refused(lambda: self.world.queue.record_texts(claim, [text]))
            return
        self.world.queue.record_texts(claim, [text])
        job.texts, job.fruitless = job.texts + 1, 0

    @precondition(lambda self: self.claims)
    @rule(
        pick=st.integers(0, 99),
        end=st.sampled_from(("succeed", "succeed", "fail", "cancelled", "release")),
    )
    def leave(self, pick: int, end: str) -> None:
        claim, job, held = self._held(pick)
        queue = self.world.queue
        leave = {
            "succeed": lambda: queue.succeed(claim),
            "fail": lambda: queue.fail(claim, ERROR),
            "cancelled": lambda: queue.cancelled(claim),
            "release": lambda: queue.release(claim),
        }[end]
        if not held:
            self._refused(leave)
            return
        leave()
        if end == "release":
            self._put_down(job)
        else:
            statuses = {"succeed": "succeeded", "fail": "failed", "cancelled": "cancelled"}
            self._end(job, statuses[end])

    # -- time ---------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from(SECONDS))
    def move(self, seconds: int) -> None:
        self.world.clock.move(seconds)

    @rule()
    def sweep(self) -> None:
        lost = {
            job.id
            for job in self.jobs.values()
            if job.lease is not None and job.lease < self.world.clock.now
        }
        rescued = {rescue.job_id: rescue.outcome for rescue in self.world.queue.rescue()}
        assert set(rescued) == lost
        for job_id in sorted(lost):
            job = self.jobs[job_id]
            if job.fruitless >= self.world.settings.max_attempts and not job.cancel:
                self._end(job, "failed")
            else:
                job.fruitless += 1  # it stays an attempt without progress
                self._put_down(job)
            assert job.status == rescued[job_id]
        self.wakes += len(self.world.queue.waiting(0))

    # -- what must hold -----------------------------------------------------------------------

    @invariant()
    def every_row_is_as_the_model_has_it(self) -> None:
        columns = (Job.id, Job.status, Job.attempt, Job.fruitless_attempts, Job.blocked_by)
        with self.world.engine.connect() as connection:
            rows = {row.id: tuple(row)[1:] for row in connection.execute(select(*columns))}
            texts = connection.scalar(select(func.count()).select_from(GeneratedText))
        assert rows == {
            job.id: (job.status, job.attempt, job.fruitless, job.after)
            for job in self.jobs.values()
        }
        assert texts == sum(job.texts for job in self.jobs.values())

    @invariant()
    def no_cap_is_passed(self) -> None:
        running = Counter(job.user for job in self.jobs.values() if job.status == "running")
        cap = self.world.settings.max_running_per_user
        assert all(count <= cap for count in running.values())

    def teardown(self) -> None:
        """Whatever happened: whoever goes on serving serves all that is left to its end."""
        for job in self.jobs.values():
            if job.status == "paused":
                self.world.resume(job.id)
        for _ in range(4 * len(self.jobs) + 4):
            self.world.clock.move(61)
            self.world.queue.rescue()
            for claim in self.world.claim(limit=9):
                self.world.queue.succeed(claim)
        with self.world.engine.connect() as connection:
            statuses = set(connection.scalars(select(Job.status)))
        assert statuses <= set(TERMINAL_STATUSES), statuses

    # -- the model's own arithmetic -----------------------------------------------------------

    def _lease(self) -> datetime:
        return self.world.clock.now + timedelta(seconds=self.world.settings.lease_seconds)

    def _runnable(self, user: str) -> list[Known]:
        own = [job for job in self.jobs.values() if job.user == user]
        if sum(job.status == "running" for job in own) >= self.world.settings.max_running_per_user:
            return []
        return [job for job in own if job.status == "queued" and job.after is None]

    def _held(self, pick: int) -> tuple[Claim, Known, bool]:
        claim = self.claims[pick % len(self.claims)]
        job = self.jobs[claim.job_id]
        return claim, job, job.status == "running" and job.attempt == claim.attempt

    def _refused(self, write: object) -> None:
        with pytest.raises(LeaseLost):
            write()  # type: ignore[operator]

    def _put_down(self, job: Known) -> None:
        job.fruitless = max(0, job.fruitless - 1)
        if job.cancel:
            self._end(job, "cancelled")
        else:
            job.status = "paused" if job.pause else "queued"
        job.pause, job.lease = False, None

    def _end(self, job: Known, status: str) -> None:
        job.status, job.after, job.pause, job.lease = status, None, False, None
        for follower in self.jobs.values():
            if follower.after == job.id:
                if status == "succeeded":
                    follower.after = None
                else:
                    self._end(follower, "failed")


@pytest.mark.slow
def test_the_queue_is_as_its_model(world: World) -> None:
    class OnThisDatabase(Machine):
        pass

    OnThisDatabase.world = world
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
