"""The `generate` lane: claim, run, finish, with many jobs at once in one running batch."""

import time
from collections import abc
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import structlog

from shared.queue import Queue
from shared.scheduling.network_memory import NetworkMemory
from shared.worker_registry import WorkerInfo
from worker.execution.batching.batch_run import (
    BatchRun,
    EndedRun,
    add_texts,
    log_ended,
    look_after,
    take_portion,
    tell_of_begun,
)
from worker.execution.batching.claim_pace import CLAIM_SECONDS, ClaimPace
from worker.execution.completion import RunFinisher
from worker.execution.handler import BatchHandler
from worker.execution.heartbeat import Heartbeat
from worker.execution.lease import Lease
from worker.execution.outages import DATABASE_AWAY, driver_message
from worker.execution.outcome import RunOutcome, outcome_of
from worker.execution.wakes.wake_relay import WakeRelay
from worker.ml.sampling.engine import Engine
from worker.ml.sampling.sequence import Sequence
from worker.ml.sampling.shape import BLOCK

#: Jobs that a busy batch runner claims at once: few, so that other workers get some too.
FEW_JOBS = 8
#: With no more runs than this, the pieces of all are published: there is time for it, and a
#: listener often comes a moment after its job has begun.
FEW_RUNS = 2
#: One slot in so many is reserved for users who have no job in the batch.
RESERVED_SHARE = 8

log = structlog.get_logger(__name__)


#: A job and the attempt: a batch runner may reclaim a job whose lease it has just lost.
RunKey = tuple[str, int]


class BatchRunner:
    """Runs all jobs of a `generate` lane side by side; each one finishes by itself.

    Args:
        queue: The queue.
        heartbeat: Renews the leases.
        worker: This worker, which claims the jobs.
        handler: Starts a job.
        engine: Runs the sequences.
        full_batch: Sequences that keep the engine busy; below that, jobs are claimed freely.
        one_batch: The most jobs to claim at once: what one of the engine's batches holds.
        max_jobs: The most jobs to run at once.
        memory_bytes: The most that the networks in use may take; None for no bound.
        finisher: Persists how runs ended; by default nobody is told.
        relay: Wakes other workers for the jobs that this one leaves; None wakes nobody.
        listened: Tells which jobs somebody listens to: of many runs, only the pieces of these are
            published.
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
        one_batch: int,
        max_jobs: int,
        memory_bytes: int | None = None,
        finisher: RunFinisher | None = None,
        relay: WakeRelay | None = None,
        listened: Callable[[], frozenset[str]] = frozenset,
    ) -> None:
        self._queue = queue
        self._heartbeat = heartbeat
        self._worker = worker
        self._handler = handler
        self._engine = engine
        self._full_batch = full_batch
        self._one_batch = one_batch
        self._max_jobs = max_jobs
        self._memory = None if memory_bytes is None else NetworkMemory(memory_bytes)
        self._finisher = finisher or RunFinisher(queue)
        self._relay = relay
        self._listened = listened
        # One user's many long texts must not take every slot.
        self._reserved_slots = max_jobs // RESERVED_SHARE
        # Every claimed job has a lease until it is released; those being generated have a run.
        self._leases: dict[RunKey, Lease] = {}
        self._runs: dict[RunKey, BatchRun] = {}
        self._finished: list[EndedRun] = []
        #: Runs that have begun, and of which nobody was told yet: a block should begin before.
        self._begun: list[Lease] = []
        self._followed: frozenset[str] = frozenset()
        self._pace = ClaimPace()
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
                self._note_followers()
                self._engine.step(meanwhile=partial(self._persist_and_claim, wake))
            self._collect_finished()
            if not len(self._engine):
                # No block will run meanwhile, so persist at once.
                self._tell_of_begun(wake)
                self._persist_portion()
                self._claim(wake)
        if self._relay is not None and self._heartbeat.draining:
            self._relay.leave(wake)
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
        self._begun.clear()

    def _persist_and_claim(self, wake: str) -> float:
        """Persist finished jobs and claim new ones while a block runs.

        Returns:
            After how many seconds to call this again.
        """
        self._tell_of_begun(wake)
        self._persist_portion()
        is_full = self._engine.staying >= self._full_batch
        if self._pace.is_due(is_full=is_full, is_hurried=self._engine.is_hurried):
            self._claim(wake)
        return 0.0 if self._finished else CLAIM_SECONDS

    def _note_followers(self) -> None:
        """Mark the texts that somebody reads, or is about to read, while they are written."""
        if len(self._runs) <= FEW_RUNS:
            followed = frozenset(run.lease.claim.job_id for run in self._runs.values())
        else:
            followed = self._listened()
        if followed == self._followed:
            return
        self._followed = followed
        for run in self._runs.values():
            self._mark(run)

    def _mark(self, run: BatchRun) -> None:
        followed = run.lease.claim.job_id in self._followed
        for sequence in run.generation.sequences:
            sequence.followed = followed

    def _claim(self, wake: str) -> None:
        """Claim jobs and start them."""
        self._pace.note_claim(self._claim_and_start(wake))

    def _claim_and_start(self, wake: str) -> int:
        """Return how many jobs were claimed."""
        asked_at = time.monotonic()
        limit, excluded_users = self._claim_limit()
        runs_alone = any(run.lease.claim.alone for run in self._runs.values())
        if limit <= 0 or runs_alone or self._heartbeat.draining:
            return 0
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
            return 0
        leases = [self._heartbeat.track(claim, asked_at) for claim in claims]
        self._leases |= {_key(lease): lease for lease in leases}
        self._begun += leases
        for lease in leases:
            self._start(lease, wake)
        self._started += len(claims)
        if self._relay is not None and len(claims) == limit:
            self._relay.pass_on(wake)
        return len(claims)

    def _claim_limit(self) -> tuple[int, set[str]]:
        """How many jobs to claim, and the users to pass over: the last slots are for others."""
        free_slots = self._max_jobs - len(self._runs)
        excluded_users: set[str] = set()
        if free_slots <= self._reserved_slots:
            excluded_users = {run.lease.claim.user_id for run in self._runs.values()}
        else:
            free_slots -= self._reserved_slots
        # While a block runs, jobs are claimed in place of those that will end with it.
        wanted = max(FEW_JOBS, self._full_batch - self._engine.staying)
        # All at once would end at once, and this worker would be idle while their senders, who
        # often ask for the next text then, are answered.
        return min(wanted, self._one_batch, free_slots), excluded_users

    def _tell_of_begun(self, wake: str) -> None:
        begun, self._begun = self._begun, []
        tell_of_begun(begun, wake)

    def _start(self, lease: Lease, wake: str) -> None:
        claim = lease.claim
        try:
            generation = self._handler(claim)
        except Exception as error:
            self._tell_of_begun(wake)
            outcome = outcome_of(error, claim)
            self._finisher.finish_or_fail(lease, outcome)
            self._release([(lease, outcome, time.monotonic())])
            return
        run = self._runs[_key(lease)] = BatchRun(lease, generation, time.monotonic())
        self._mark(run)
        for sequence in generation.unfinished:
            self._add(run, sequence)

    def _add(self, run: BatchRun, sequence: Sequence) -> None:
        sequence.followed = run.lease.claim.job_id in self._followed
        owner = run.lease.claim.user_id
        self._engine.add(sequence, run.generation.sampler, owner=owner)

    def _collect_finished(self) -> None:
        """Take the runs that the last block, or a request, has finished out of the batch."""
        for run in list(self._runs.values()):
            ended = look_after(run, partial(self._add, run), self._engine.remove, self._followed)
            if ended is None:
                self._record_progress(run)
                continue
            self._leave_engine(run)
            del self._runs[_key(run.lease)]
            # Each sequence is charged its share of a block: one of thirty pays a thirtieth.
            seconds = run.generation.seconds
            ended.outcome = replace(ended.outcome, seconds=seconds, generated=run.generated)
            self._finished.append(ended)

    def _record_progress(self, run: BatchRun) -> None:
        progress = run.generation.new_progress()
        if progress is None:
            return
        try:
            self._queue.record_reading(run.lease.claim, progress)
        except DATABASE_AWAY as error:
            log.warning("progress_not_written", reason=driver_message(error))

    def _persist_portion(self) -> None:
        """Persist as many texts as a block writes: the next one must not wait for dozens."""
        finished = take_portion(self._finished, self._full_batch * BLOCK)
        add_texts(self._handler, [ended for ended in finished if ended.keeps_texts])
        succeeded = [each for each in finished if each.outcome.status == "succeeded"]
        self._finisher.finish_together([(each.run.lease, each.outcome) for each in succeeded])
        self._release([(each.run.lease, each.outcome, each.run.started_at) for each in succeeded])
        for ended in finished:
            if ended.outcome.status != "succeeded":
                self._finisher.finish_or_fail(ended.run.lease, ended.outcome)
                self._release([(ended.run.lease, ended.outcome, ended.run.started_at)])

    def _release(self, ended: abc.Sequence[tuple[Lease, RunOutcome, float]]) -> None:
        """Let go of jobs whose runs have ended, each with the time of its start (monotonic)."""
        for lease, _, _ in ended:
            del self._leases[_key(lease)]
            self._heartbeat.untrack(lease)
        log_ended(ended)

    def _leave_engine(self, run: BatchRun) -> None:
        for sequence in run.generation.sequences:
            self._engine.remove(sequence)


def _key(lease: Lease) -> RunKey:
    return lease.claim.job_id, lease.claim.attempt
