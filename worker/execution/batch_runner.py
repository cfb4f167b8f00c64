"""The `generate` lane: claim, run, finish, with many jobs at once in one running batch."""

import time
from dataclasses import dataclass, replace
from functools import partial

import structlog

from shared.queue import Queue
from shared.scheduling.network_memory import NetworkMemory
from shared.worker_registry import WorkerInfo
from worker.execution.completion import finish_or_fail, finish_together, log_fields
from worker.execution.handler import BatchHandler, Generation
from worker.execution.heartbeat import Heartbeat
from worker.execution.lease import CancelRequested, DeadlineReached, Lease
from worker.execution.outages import DATABASE_AWAY, driver_message
from worker.execution.outcome import RunOutcome, outcome_of
from worker.ml.sampling.engine import Engine

#: How often a busy batch runner claims new jobs. An idle one is woken.
CLAIM_SECONDS = 0.05
#: Jobs that a busy batch runner claims at once: few, so that other workers get some too.
FEW_JOBS = 8
#: One slot in so many is reserved for users who have no job in the batch.
RESERVED_SHARE = 8

log = structlog.get_logger(__name__)


#: A job and the attempt: a batch runner may reclaim a job whose lease it has just lost.
RunKey = tuple[str, int]


@dataclass(slots=True)
class _Run:
    """A claimed job whose texts are being generated."""

    lease: Lease
    generation: Generation
    started_at: float


class BatchRunner:
    """Runs all jobs of a `generate` lane side by side; each one finishes by itself.

    Args:
        queue: The queue.
        heartbeat: Renews the leases.
        worker: This worker, which claims the jobs.
        handler: Starts a job.
        engine: Runs the sequences.
        full_batch: Sequences that keep the engine busy; below that, jobs are claimed freely.
        max_jobs: The most jobs to run at once.
        memory_bytes: The most that the networks in use may take; None for no bound.
    """

    def __init__(
        self,
        queue: Queue,
        heartbeat: Heartbeat,
        worker: WorkerInfo,
        handler: BatchHandler,
        engine: Engine,
        *,
        full_batch: int,
        max_jobs: int,
        memory_bytes: int | None = None,
    ) -> None:
        self._queue = queue
        self._heartbeat = heartbeat
        self._worker = worker
        self._handler = handler
        self._engine = engine
        self._full_batch = full_batch
        self._max_jobs = max_jobs
        self._memory = None if memory_bytes is None else NetworkMemory(memory_bytes)
        # One user's many long texts must not take every slot.
        self._reserved_slots = max_jobs // RESERVED_SHARE
        # Every claimed job has a lease until it is released; those being generated have a run.
        self._leases: dict[RunKey, Lease] = {}
        self._runs: dict[RunKey, _Run] = {}
        self._finished: list[tuple[_Run, RunOutcome]] = []
        self._claimed_at = 0.0
        self._started = 0

    def run_all(self, wake: str) -> int:
        """Run jobs until none is left or the worker is to stop.

        Args:
            wake: The Celery task's id. It is only logged: the queue decides which jobs run.

        Returns:
            How many jobs were started.
        """
        try:
            return self._run_until_idle(wake)
        except BaseException:
            self._abandon_all()
            raise

    def _run_until_idle(self, wake: str) -> int:
        started = self._started
        self._claim(wake)
        while self._runs or self._finished:
            if len(self._engine):
                self._engine.step(meanwhile=partial(self._persist_and_claim, wake))
            self._collect_finished()
            if not len(self._engine):
                # No block will run meanwhile, so persist at once.
                self._persist_finished()
                self._claim(wake)
        return self._started - started

    def _abandon_all(self) -> None:
        """Stop renewing all leases: they expire, and the rescue decides."""
        for lease in self._leases.values():
            self._heartbeat.untrack(lease)
        for run in self._runs.values():
            self._leave_engine(run)
        self._leases.clear()
        self._runs.clear()
        self._finished.clear()

    def _persist_and_claim(self, wake: str) -> None:
        """Persist finished jobs and claim new ones while a block runs."""
        self._persist_finished()
        if time.monotonic() - self._claimed_at >= CLAIM_SECONDS:
            self._claim(wake)

    def _claim(self, wake: str) -> None:
        self._claimed_at = asked_at = time.monotonic()
        limit, excluded_users = self._claim_limit()
        runs_alone = any(run.lease.claim.alone for run in self._runs.values())
        if limit <= 0 or runs_alone or self._heartbeat.draining:
            return
        if self._memory is not None:
            self._memory.use(lease.claim.checkpoint_id for lease in self._leases.values())
        try:
            claims = self._queue.claim(
                self._worker.lane,
                self._worker.id,
                limit=limit,
                slots=self._max_jobs,
                busy=bool(self._runs or self._finished),
                without=excluded_users,
                memory=self._memory,
            )
        except DATABASE_AWAY as error:
            # The jobs are still queued; the maintenance loop wakes a worker for them.
            log.warning("claim_failed", wake=wake, reason=driver_message(error))
            return
        leases = [self._heartbeat.track(claim, asked_at) for claim in claims]
        self._leases |= {_key(lease): lease for lease in leases}
        for lease in leases:
            log.info("run_started", kind=lease.claim.kind, wake=wake, **log_fields(lease.claim))
            lease.publish("state", begins=True)
            self._start(lease)
        self._started += len(claims)

    def _claim_limit(self) -> tuple[int, set[str]]:
        """How many jobs to claim, and the users to pass over: the last slots are for others."""
        free_slots = self._max_jobs - len(self._runs)
        excluded_users: set[str] = set()
        if free_slots <= self._reserved_slots:
            excluded_users = {run.lease.claim.user_id for run in self._runs.values()}
        else:
            free_slots -= self._reserved_slots
        wanted = max(FEW_JOBS, self._full_batch - len(self._engine))
        return min(wanted, free_slots), excluded_users

    def _start(self, lease: Lease) -> None:
        claim = lease.claim
        try:
            generation = self._handler(claim)
        except Exception as error:
            outcome = outcome_of(error, claim.kind)
            finish_or_fail(self._queue, lease, outcome)
            self._release(lease, outcome, time.monotonic())
            return
        self._runs[_key(lease)] = _Run(lease, generation, time.monotonic())
        for sequence in generation.unfinished:
            self._engine.add(sequence, generation.sampler, owner=claim.user_id)

    def _collect_finished(self) -> None:
        """Take the runs that the last block, or a request, has finished out of the batch."""
        for run in list(self._runs.values()):
            outcome = self._outcome(run)
            if outcome is None:
                continue
            self._leave_engine(run)
            del self._runs[_key(run.lease)]
            # Each sequence is charged its share of a block: one of thirty pays a thirtieth.
            seconds = sum(sequence.seconds for sequence in run.generation.sequences)
            self._finished.append((run, replace(outcome, seconds=seconds)))

    def _outcome(self, run: _Run) -> RunOutcome | None:
        """How a run has ended; None while it goes on. Its errors affect no other run."""
        generation = run.generation
        try:
            generation.check()
            for sequence in generation.newly_stopped():
                self._engine.remove(sequence)
            generation.read_ahead()
            if not generation.unfinished:
                return RunOutcome("succeeded", texts=generation.records())
            run.lease.check()
            for piece in generation.new_pieces():
                run.lease.publish("piece", **piece)
            self._record_progress(run)
        except CancelRequested:
            # Keep what is written: the owner may want the part of a long text that they saw.
            return RunOutcome("cancelled", texts=generation.records(unfinished="cancelled"))
        except DeadlineReached as error:
            outcome = outcome_of(error, run.lease.claim.kind)
            return replace(outcome, texts=generation.records(unfinished="deadline"))
        except Exception as error:
            return outcome_of(error, run.lease.claim.kind)
        return None

    def _record_progress(self, run: _Run) -> None:
        progress = run.generation.new_progress()
        if progress is None:
            return
        try:
            self._queue.record_reading(run.lease.claim, progress)
        except DATABASE_AWAY as error:
            log.warning("progress_not_written", reason=driver_message(error))

    def _persist_finished(self) -> None:
        finished, self._finished = self._finished, []
        succeeded = [(run.lease, end) for run, end in finished if end.status == "succeeded"]
        finish_together(self._queue, succeeded)
        for run, outcome in finished:
            if outcome.status != "succeeded":
                finish_or_fail(self._queue, run.lease, outcome)
            self._release(run.lease, outcome, run.started_at)

    def _release(self, lease: Lease, outcome: RunOutcome, started_at: float) -> None:
        del self._leases[_key(lease)]
        self._heartbeat.untrack(lease)
        log.info(
            "run_ended",
            kind=lease.claim.kind,
            status=outcome.status,
            seconds=round(time.monotonic() - started_at, 3),
            **log_fields(lease.claim),
        )

    def _leave_engine(self, run: _Run) -> None:
        for sequence in run.generation.sequences:
            self._engine.remove(sequence)


def _key(lease: Lease) -> RunKey:
    return lease.claim.job_id, lease.claim.attempt
