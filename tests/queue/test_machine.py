"""The queue against a model of it in Python, through whatever hypothesis thinks of.

Workers claim, beat, write, stop hearing, wake up again and write all the same, one of them with
many texts at once; people submit, cancel, pause and resume, and an admin lifts; wakes are lost and
come twice; the clock moves and the sweep runs. Each claim takes whom fairness names. After each
step every row is what the model says, no cap is passed, and nothing is lost.
"""

from collections import Counter
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
from tests.queue.conftest import World
from tests.queue.reference_model import Known, Model

USERS = ("ada", "grace", "hedy")
EXAMPLES, STEPS = 25, 50
SECONDS = (1, 30, 60, 400)
KINDS: tuple[Kind, ...] = ("train", "train", "generate")
WRITERS = ("host/cpu:0/generate", "host/cpu:1/generate")
ERROR = problem("x", "X", "x")
PRIORITY = st.sampled_from((-1, 0, 1))


class Machine(RuleBasedStateMachine):
    """Everything that may happen to a queue."""

    world: World

    def __init__(self) -> None:
        super().__init__()
        self.model = Model(self.world.settings, USERS)
        self.jobs = self.model.jobs
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

    @rule(
        user=st.sampled_from(USERS),
        kind=st.sampled_from(KINDS),
        priority=PRIORITY,
        pick=st.none() | st.integers(0, 50),
    )
    def submit(self, user: str, kind: Kind, priority: int, pick: int | None) -> None:
        own = [job.id for job in self.jobs.values() if job.user == user]
        after = own[pick % len(own)] if own and pick is not None else None
        vain = after is not None and self.jobs[after].status in ("failed", "cancelled")
        try:
            [job_id] = self.world.submit(user, kind, priority=priority, after_job_id=after)
        except PredecessorFailed:
            assert vain
            return
        assert not vain
        waits = after is not None and not self.jobs[after].ended
        self.jobs[job_id] = Known(job_id, user, kind, priority, after if waits else None)
        self.wakes += 1

    @precondition(lambda self: self.jobs)
    @rule(pick=st.integers(0, 99), what=st.sampled_from(("cancel", "pause", "resume", "lift")))
    def ask(self, pick: int, what: str) -> None:
        job = list(self.jobs.values())[pick % len(self.jobs)]
        try:
            getattr(self.world, what)(job.id)
        except AlreadyEnded:
            assert job.ended
            return
        assert not job.ended
        if what == "lift":
            job.lifted = job.lifted or self.now
        elif what == "cancel":
            if job.status == "running":
                job.cancel = True
            else:
                self.model.end(job, "cancelled", self.now)
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
        self._claimed(self.model.next("train", limit, self.now), self.world.claim(limit=limit))

    @precondition(lambda self: self.wakes)
    @rule(worker=st.sampled_from(WRITERS), limit=st.integers(1, 5))
    def claim_texts(self, worker: str, limit: int) -> None:
        self.wakes -= 1
        mine = self.model.running("generate", worker)
        if any(claim.alone for claim in self.claims if self.jobs[claim.job_id] in mine):
            return  # a worker claims nothing beside what runs alone
        expected = self.model.next("generate", limit, self.now, busy=bool(mine))
        claims = self.world.queue.claim("generate", worker, limit, busy=bool(mine))
        self._claimed(expected, claims)

    def _claimed(self, expected: list[Known], claims: list[Claim]) -> None:
        assert [claim.job_id for claim in claims] == [job.id for job in expected]
        self.model.claim(claims, self.now)
        self.claims += claims

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
        job.lease = self.model.lease(self.now)
        if orders.yield_:
            assert job.claimed is not None
            held_seconds = (self.world.clock.now - job.claimed).total_seconds()
            assert held_seconds >= self.world.settings.quantum_seconds
            self.world.queue.release(claim, "yielded")
            self.model.put_down(job, self.now)

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
            "cancelled": lambda: queue.cancel_claimed(claim),
            "release": lambda: queue.release(claim),
        }[end]
        if not held:
            self._refused(leave)
            return
        leave()
        if end == "release":
            self.model.put_down(job, self.now)
        else:
            statuses = {"succeed": "succeeded", "fail": "failed", "cancelled": "cancelled"}
            self.model.end(job, statuses[end], self.now)

    # -- time ---------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from(SECONDS))
    def move(self, seconds: int) -> None:
        self.world.clock.move(seconds)

    @rule()
    def sweep(self) -> None:
        rescued = {rescue.job_id: rescue.outcome for rescue in self.world.queue.rescue()}
        lost = self.model.sweep(self.now)
        assert rescued == {job_id: self.jobs[job_id].status for job_id in lost}
        self.wakes += len(self.world.queue.waiting(0))

    # -- what must hold -----------------------------------------------------------------------

    @invariant()
    def every_row_is_as_the_model_has_it(self) -> None:
        columns = (
            Job.id,
            Job.status,
            Job.attempt,
            Job.fruitless_attempts,
            Job.alone,
            Job.blocked_by,
        )
        with self.world.engine.connect() as connection:
            rows = {row.id: tuple(row)[1:] for row in connection.execute(select(*columns))}
            texts = connection.scalar(select(func.count()).select_from(GeneratedText))
        assert rows == {
            job.id: (job.status, job.attempt, job.fruitless, job.alone, job.after)
            for job in self.jobs.values()
        }
        assert texts == sum(job.texts for job in self.jobs.values())

    @invariant()
    def no_cap_is_passed(self) -> None:
        running = Counter(job.user for job in self.model.running("train"))
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
            for kind in KINDS:
                for claim in self.world.claim(kind, limit=9):
                    self.world.queue.succeed(claim)
        with self.world.engine.connect() as connection:
            statuses = set(connection.scalars(select(Job.status)))
        assert statuses <= set(TERMINAL_STATUSES), statuses

    # -- in short ------------------------------------------------------------------------------

    @property
    def now(self) -> datetime:
        return self.world.clock.now

    def _held(self, pick: int) -> tuple[Claim, Known, bool]:
        claim = self.claims[pick % len(self.claims)]
        job = self.jobs[claim.job_id]
        return claim, job, job.status == "running" and job.attempt == claim.attempt

    def _refused(self, write: object) -> None:
        with pytest.raises(LeaseLost):
            write()  # type: ignore[operator]


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
