"""One job of a running batch: its claim, its texts, and how it ended."""

import time
from bisect import bisect_right
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from shared.logs import LeanLogger
from shared.queue.types import Generated
from worker.execution.completion import log_fields
from worker.execution.handler import BatchHandler, Generation
from worker.execution.lease import CancelRequested, DeadlineReached, Lease
from worker.execution.outcome import RunOutcome, outcome_of
from worker.ml.sampling import sequence

#: For what is logged of every job.
log = LeanLogger(__name__)


@dataclass(slots=True)
class BatchRun:
    """A claimed job whose texts are being generated."""

    lease: Lease
    generation: Generation
    started_at: float
    #: From the claim to the first token; None while there is none.
    first_seconds: float | None = None

    @property
    def generated(self) -> Generated:
        """What it has written so far."""
        tokens = sum(len(sequence.output_ids) for sequence in self.generation.sequences)
        return Generated(tokens, self.first_seconds)


@dataclass(slots=True)
class EndedRun:
    """A run that has left the batch; its outcome gets its texts from `add_texts`.

    Attributes:
        keeps_texts: Whether what it wrote is stored.
        unfinished: The `finish_reason` of texts that were interrupted.
    """

    run: BatchRun
    outcome: RunOutcome
    keeps_texts: bool = False
    unfinished: str | None = None


def look_after(
    run: BatchRun,
    add: Callable[[sequence.Sequence], None],
    stop: Callable[[sequence.Sequence], None],
    followed: Collection[str],
) -> EndedRun | None:
    """See what became of a run in the last block, and what is asked of it.

    Its errors affect no other run.

    Args:
        run: The run.
        add: Adds a sequence that takes the place of another.
        stop: Stops a sequence that has reached a stop string.
        followed: The jobs whose pieces are published.

    Returns:
        How it has ended; None while it goes on.
    """
    generation = run.generation
    if run.first_seconds is None and any(len(each.output_ids) for each in generation.sequences):
        run.first_seconds = run.lease.held_seconds
    try:
        generation.check()
        for stopped in generation.newly_stopped():
            stop(stopped)
        for drawn in generation.drawn_again():
            add(drawn)
        generation.read_ahead()
        if generation.finished:
            return EndedRun(run, RunOutcome("succeeded"), keeps_texts=True)
        run.lease.check()
        if run.lease.claim.job_id in followed:
            for piece in generation.new_pieces():
                run.lease.publish("piece", **piece)
    except CancelRequested as error:
        # Keep what is written: the owner may want the part of a long text that they saw.
        outcome = outcome_of(error, run.lease.claim)
        return EndedRun(run, outcome, keeps_texts=True, unfinished="cancelled")
    except DeadlineReached as error:
        outcome = outcome_of(error, run.lease.claim)
        return EndedRun(run, outcome, keeps_texts=True, unfinished="deadline")
    except Exception as error:
        return EndedRun(run, outcome_of(error, run.lease.claim))
    return None


def add_texts(handler: BatchHandler, all_ended: Sequence[EndedRun]) -> None:
    """Give ended runs their texts, all at once; a run whose texts can't be had fails alone."""
    if not all_ended:
        return
    try:
        written = handler.records([(ended.run.generation, ended.unfinished) for ended in all_ended])
    except Exception as error:
        if len(all_ended) == 1:
            [ended] = all_ended
            outcome = outcome_of(error, ended.run.lease.claim)
            ended.outcome = replace(outcome, seconds=ended.outcome.seconds)
            return
        for ended in all_ended:
            add_texts(handler, [ended])
        return
    for ended, texts in zip(all_ended, written, strict=True):
        ended.outcome = replace(ended.outcome, texts=texts)


def tell_of_begun(leases: Sequence[Lease], wake: str) -> None:
    """Log that claimed jobs begin, and after which wake, and publish it to their listeners."""
    if not leases:
        return
    log.info_many(
        "run_started",
        [{"kind": lease.claim.kind, "wake": wake, **log_fields(lease.claim)} for lease in leases],
    )
    for lease in leases:
        lease.publish_state(begins=True)


def log_ended(ended: Sequence[tuple[Lease, RunOutcome, float]]) -> None:
    """Log how runs ended, each with the time of its start (monotonic)."""
    now = time.monotonic()
    log.info_many(
        "run_ended",
        [
            {
                "kind": lease.claim.kind,
                "status": outcome.status,
                "seconds": round(now - started_at, 3),
                **log_fields(lease.claim),
            }
            for lease, outcome, started_at in ended
        ],
    )


def take_portion(ended: list[EndedRun], tokens: int) -> list[EndedRun]:
    """Take the shortest of some ended runs out of the list: at least one, if there is any.

    Args:
        ended: Runs with their outcomes.
        tokens: The most that the taken ones have written together, if they are several.
    """
    ended.sort(key=_written)
    total = list(accumulate(map(_written, ended)))
    count = max(1, bisect_right(total, tokens))
    taken = ended[:count]
    del ended[:count]
    return taken


def _written(ended: EndedRun) -> int:
    generated = ended.outcome.generated
    return 0 if generated is None else generated.tokens
