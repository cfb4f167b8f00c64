"""The `generate` lane: many jobs at once, written in one running batch."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import structlog

from shared.queue import FinishedJob, Queue
from shared.queue.types import Claim
from shared.worker_registry import WorkerSelf
from worker.execution.heartbeat import Heartbeat
from worker.execution.lease import (
    DATABASE_AWAY,
    RETRY_SECONDS,
    CancelRequested,
    DeadlineReached,
    Lease,
    reason,
)
from worker.execution.runner import Ending, ending_of, finish
from worker.handlers.generate import Generate, Writing
from worker.ml.sampling.engine import Engine

#: How often a busy batch_runner looks for new jobs. An idle one is woken.
CLAIM_SECONDS = 0.05
#: Jobs taken at once by a batch_runner that has enough to do, so that other workers find some too.
FEW_JOBS = 8
#: One place in so many is kept for users who have no job at the batch_runner.
KEPT_FREE = 8

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Run:
    """A claimed job that is being written."""

    lease: Lease
    writing: Writing
    started_at: float


#: A job, and the attempt that holds it: a batch_runner may claim a job again whose lease it has just lost.
Held = tuple[str, int]


class BatchRunner:
    """Runs all jobs of a `generate` lane side by side, each to its own end.

    Args:
        queue: Where the jobs are.
        heartbeat: Renews the leases.
        me: The worker, in whose name jobs are claimed.
        generate: Makes a job into streams.
        engine: Moves the streams.
        room: Streams that keep the engine busy; while it has fewer, jobs are claimed freely.
        most_jobs: Jobs held at once at most.
    """

    def __init__(
        self,
        queue: Queue,
        heartbeat: Heartbeat,
        me: WorkerSelf,
        generate: Generate,
        engine: Engine,
        *,
        room: int,
        most_jobs: int,
    ) -> None:
        self._queue = queue
        self._heartbeat = heartbeat
        self._me = me
        self._generate = generate
        self._engine = engine
        self._room = room
        self._most_jobs = most_jobs
        # For users who have none here: one with many long texts must not fill it.
        self._kept_free = most_jobs // KEPT_FREE
        # All that is held, and of that what is being written.
        self._leases: dict[Held, Lease] = {}
        self._runs: dict[Held, _Run] = {}
        self._ended: list[tuple[_Run, Ending]] = []
        self._claimed_at = 0.0
        self._begun = 0

    def run_all(self, wake: str) -> int:
        """Run until no job is left or the worker is to stop.

        Args:
            wake: The Celery task's id, for the log; nobody obeys it.

        Returns:
            How many jobs were begun.
        """
        try:
            return self._run_all(wake)
        except BaseException:
            # The leases run out, and a rescue decides.
            for lease in self._leases.values():
                self._heartbeat.let_go(lease)
            for run in self._runs.values():
                for text in run.writing.texts:
                    self._engine.leave(text.stream)
            self._leases.clear()
            self._runs.clear()
            self._ended.clear()
            raise

    def _run_all(self, wake: str) -> int:
        begun = self._begun
        self._claim(wake)
        while self._runs or self._ended:
            if len(self._engine):
                self._engine.step(meanwhile=partial(self._keep_house, wake))
            self._look_after_runs()
            if not len(self._engine):
                # No block to do it beside: what has ended is told at once.
                self._write_ended()
                self._claim(wake)
        return self._begun - begun

    def _keep_house(self, wake: str) -> None:
        """What can be done while a block runs: write down what has ended, begin what has come."""
        self._write_ended()
        if time.monotonic() - self._claimed_at >= CLAIM_SECONDS:
            self._claim(wake)

    def _claim(self, wake: str) -> None:
        self._claimed_at = asked_at = time.monotonic()
        limit = max(FEW_JOBS, self._room - len(self._engine))
        free = self._most_jobs - len(self._runs)
        without: set[str] = set()
        if free <= self._kept_free:
            without = {run.lease.claim.user_id for run in self._runs.values()}
        else:
            free -= self._kept_free
        limit = min(limit, free)
        alone = any(run.lease.claim.alone for run in self._runs.values())
        if limit <= 0 or alone or self._heartbeat.draining:
            return
        try:
            claims = self._queue.claim(
                self._me.lane,
                self._me.id,
                limit=limit,
                slots=self._most_jobs,
                busy=bool(self._runs or self._ended),
                without=without,
            )
        except DATABASE_AWAY as error:
            # The jobs are still in line, and a sweep wakes somebody for them.
            log.warning("claim_failed", wake=wake, reason=reason(error))
            return
        leases = [self._heartbeat.hold(claim, asked_at) for claim in claims]
        self._leases |= {_held(lease): lease for lease in leases}
        for lease in leases:
            log.info("run_started", kind=lease.claim.kind, wake=wake, **_names(lease.claim))
            lease.say("state", begins=True)
            self._begin(lease)
        self._begun += len(claims)

    def _begin(self, lease: Lease) -> None:
        claim = lease.claim
        try:
            writing = self._generate.begin(claim)
        except Exception as error:
            ending = ending_of(error, claim.kind)
            self._write_end(lease, ending)
            self._let_go(lease, ending, time.monotonic())
            return
        self._runs[_held(lease)] = _Run(lease, writing, time.monotonic())
        for stream in writing.streams:
            self._engine.admit(stream, writing.writer.sampler, owner=claim.user_id)

    def _look_after_runs(self) -> None:
        """See what became of each run in the last block, and what is asked of it."""
        for run in list(self._runs.values()):
            ending = self._ending(run)
            if ending is None:
                continue
            for text in run.writing.texts:
                self._engine.leave(text.stream)
            del self._runs[_held(run.lease)]
            # Of a block each stream pays its part: thirty in one batch a thirtieth each.
            seconds = sum(text.stream.seconds for text in run.writing.texts)
            self._ended.append((run, replace(ending, seconds=seconds)))

    def _ending(self, run: _Run) -> Ending | None:
        """How a run has ended; None while it goes on. What goes wrong here is its own affair."""
        writing = run.writing
        try:
            writing.check()
            for stream in writing.notice_stops():
                self._engine.leave(stream)
            if not writing.streams:
                return Ending("succeeded", texts=writing.records())
            run.lease.check()
            for piece in writing.pieces():
                run.lease.say("piece", **piece)
        except CancelRequested:
            # What is there is kept: whoever cancels a long text may want what they saw of it.
            return Ending("cancelled", texts=writing.records(unfinished="cancelled"))
        except DeadlineReached as error:
            late = ending_of(error, run.lease.claim.kind)
            return replace(late, texts=writing.records(unfinished="deadline"))
        except Exception as error:
            return ending_of(error, run.lease.claim.kind)
        return None

    def _write_ended(self) -> None:
        ended, self._ended = self._ended, []
        well = [(run, ending) for run, ending in ended if ending.status == "succeeded"]
        self._write_together(well)
        for run, ending in ended:
            if ending.status != "succeeded":
                self._write_end(run.lease, ending)
            self._let_go(run.lease, ending, run.started_at)

    def _write_together(self, ended: Sequence[tuple[_Run, Ending]]) -> None:
        """End jobs well, all in one transaction; one whose end can't be written fails alone."""
        while ended := [(run, ending) for run, ending in ended if _is_sure(run.lease)]:
            outcomes: list[FinishedJob] = [(run.lease.claim, ending.texts) for run, ending in ended]
            used = {run.lease.claim.job_id: ending.seconds or 0.0 for run, ending in ended}
            try:
                lost = {claim.job_id for claim in self._queue.finish(outcomes, seconds=used)}
                for run, _ in ended:
                    if run.lease.claim.job_id in lost:
                        log.warning("lease_lost", status="succeeded", **_names(run.lease.claim))
                    else:
                        run.lease.say("state")
                return
            except DATABASE_AWAY as error:
                log.warning("database_away", reason=reason(error))
                time.sleep(RETRY_SECONDS)
            except Exception as error:
                if len(ended) == 1:
                    [(run, ending)] = ended
                    self._write_failure(run.lease, error, ending.seconds)
                    return
                for one in ended:
                    self._write_together([one])
                return

    def _write_end(self, lease: Lease, ending: Ending) -> None:
        """End one job; one whose end can't be written fails, and harms none beside it."""
        try:
            finish(self._queue, lease, ending)
        except Exception as error:
            self._write_failure(lease, error, ending.seconds)

    def _write_failure(self, lease: Lease, error: Exception, seconds: float | None) -> None:
        """End a job whose end met an error; if not even that can be written, a rescue decides."""
        ending = replace(ending_of(error, lease.claim.kind), seconds=seconds)
        try:
            finish(self._queue, lease, ending)
        except Exception:
            log.exception("end_not_written", **_names(lease.claim))

    def _let_go(self, lease: Lease, ending: Ending, started_at: float) -> None:
        del self._leases[_held(lease)]
        self._heartbeat.let_go(lease)
        log.info(
            "run_ended",
            kind=lease.claim.kind,
            status=ending.status,
            seconds=round(time.monotonic() - started_at, 3),
            **_names(lease.claim),
        )


def _held(lease: Lease) -> Held:
    return lease.claim.job_id, lease.claim.attempt


def _is_sure(lease: Lease) -> bool:
    if lease.lost:
        log.warning("lease_lost", status="succeeded", **_names(lease.claim))
    return not lease.lost


def _names(claim: Claim) -> dict[str, object]:
    return {"job": claim.job_id, "user": claim.user_id, "attempt": claim.attempt}
