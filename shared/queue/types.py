"""The records that cross the boundary of the queue."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from shared.tables import Kind, Status

#: Every status but ``running``.
StatusAfterRun = Literal["queued", "paused", "succeeded", "failed", "cancelled"]


@dataclass(frozen=True, slots=True)
class Submission:
    """A request for a job.

    Attributes:
        priority: Orders the user's own jobs; the lowest number runs first.
        after_job_id: The job runs only once this job of the same user has succeeded.
        start_before: The job fails if it has not started by then.
        deadline_seconds: The job fails once it has run for longer than this.
    """

    kind: Kind
    user_id: str
    name: str
    spec: dict[str, Any]
    model_id: str
    corpus_id: str | None
    priority: int = 0
    after_job_id: str | None = None
    start_before: datetime | None = None
    deadline_seconds: float | None = None
    estimate: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmittedJob(Submission):
    """A job as it was inserted. Its fields are columns of `jobs`: all that its owner is shown.

    Attributes:
        blocked_by: The job it still has to wait for.
    """

    id: str
    created_at: datetime
    blocked_by: str | None
    status: Status = "queued"
    attempt: int = 0
    progress: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    cancel_requested_at: datetime | None = None
    pause_requested_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to run a job until the lease expires.

    Attributes:
        attempt: The fencing token.
        claimed_at: When the worker claimed it.
        charged_seconds: Device time that its owner was charged in advance.
        device_slots: It holds one of so many slots of its device. Each second costs 1/slots of a
            device-second, whether the neighbours work or not.
        alone: The job must not share a batch.
        checkpoint_id: The checkpoint that a generation uses in all its attempts; None if the
            model has no checkpoint of the requested name.
    """

    job_id: str
    attempt: int
    kind: Kind
    name: str
    user_id: str
    spec: dict[str, Any]
    model_id: str | None
    corpus_id: str | None
    worker_id: str
    claimed_at: datetime
    charged_seconds: float
    alone: bool = False
    checkpoint_id: str | None = None
    device_slots: int = 1

    def device_seconds(self, held: float, ran: float | None = None) -> float:
        """The device time of a run: its slot's part of the seconds.

        Args:
            held: Seconds since the claim.
            ran: Seconds that the run used, which are no more; None for all.
        """
        return (held if ran is None else min(ran, held)) / self.device_slots


@dataclass(frozen=True, slots=True)
class LeaseDirectives:
    """What a heartbeat tells the worker to do with a job.

    Attributes:
        cancel: The owner asked to cancel the job.
        drain: The worker was asked to stop.
        pause: The owner asked to pause the job.
        yield_: The job has had its quantum, and a less served user waits.
        overdue: The job has run for longer than its deadline.
    """

    cancel: bool = False
    drain: bool = False
    pause: bool = False
    yield_: bool = False
    overdue: bool = False


@dataclass(frozen=True, slots=True)
class ProgressReport:
    """How far a training is. Losses are in nats per token; `bits_per_char` is of `val_loss`."""

    step: int
    steps_total: int
    epoch: float
    epochs: float
    loss: float | None
    val_loss: float | None
    learning_rate: float | None
    characters_per_second: float | None
    seconds_left: float | None
    bits_per_char: float | None = None


@dataclass(frozen=True, slots=True)
class CheckpointRecord:
    """A checkpoint whose bytes are stored under `sha256`.

    Attributes:
        exact: False if a part of its training was computed under another fingerprint.
    """

    step: int
    epoch: float
    loss: float | None
    val_loss: float | None
    digest: str
    sha256: str
    size_bytes: int
    fingerprint: dict[str, Any] = field(default_factory=dict)
    exact: bool = True


@dataclass(frozen=True, slots=True)
class TextRecord:
    """A generated text.

    Attributes:
        requested: False for a sample that a training took.
        temperature_to: The temperature at its end, if a schedule changed it.
        echo: Whether it is shown with its prompt.
        mean_logprob: The mean over its tokens under the network's own distribution, in nats.
        logprobs: One for each token, if requested.
        tokens: The tokens themselves, if their alternatives were requested.
        top_logprobs: Of each token the likeliest ones, as pairs with their log-probabilities.
        copied_spans: The pieces that occur in the corpus, if requested: position in the text,
            length, position in the corpus.
        next_tokens: Which tokens may follow the prompt, by temperature, if that was asked.
        copied_characters: This and the next three fields come from `worker.ml.novelty.Novelty`;
            None if the corpus is gone or too large.
        copy: Whether it is an item of the corpus, prompt included; None if it is no item.
        discarded: Draws that were thrown away before it; None unless only new items were wanted.
        nearest: The corpus's nearest item, if requested.
        nearest_distance: The characters to insert, delete or replace between it and the text.
    """

    position: int
    prompt: str
    text: str
    temperature: float
    top_k: int | None
    top_p: float | None
    seed: int
    finish_reason: str
    checkpoint_id: str | None
    requested: bool = True
    step: int = 0
    epoch: float | None = None
    temperature_to: float | None = None
    repetition_penalty: float = 1.0
    echo: bool = False
    mean_logprob: float | None = None
    bits_per_char: float | None = None
    logprobs: Sequence[float] | None = None
    tokens: Sequence[str] | None = None
    top_logprobs: Sequence[Any] | None = None
    copied_spans: Sequence[Any] | None = None
    next_tokens: Sequence[Any] | None = None
    copied_characters: int | None = None
    copied_at: int | None = None
    copied_from: int | None = None
    known_grams: float | None = None
    copy: bool | None = None
    discarded: int | None = None
    nearest: str | None = None
    nearest_distance: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredText(TextRecord):
    """A text as it was inserted. Its fields are columns of `texts`."""

    id: str
    job_id: str
    user_id: str
    model_id: str | None
    created_at: datetime
    kept: bool = False
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Generated:
    """What a run generated, to be counted.

    Attributes:
        tokens: How many.
        first_seconds: From the claim to the first of them; None if there is none.
    """

    tokens: int
    first_seconds: float | None


@dataclass(frozen=True, slots=True)
class JobEnd:
    """The end of a run, once it is committed.

    Attributes:
        attempt: The attempt that ended.
        texts: All texts of a job that has succeeded, in the order of their positions. None says
            to read the rows: after any other end, and if an earlier attempt has stored texts.
    """

    job_id: str
    attempt: int
    texts: Sequence[StoredText] | None = None


@dataclass(frozen=True, slots=True)
class RescuedJob:
    """A job whose lease expired, and its new status.

    Attributes:
        attempt: The attempt that lost the lease.
    """

    job_id: str
    kind: Kind
    attempt: int
    outcome: StatusAfterRun


@dataclass(frozen=True, slots=True)
class WaitingJob:
    """A runnable job that nobody has claimed for a while.

    Attributes:
        idle_workers: Ready workers of its kind that run nothing.
    """

    job_id: str
    kind: Kind
    created_at: datetime
    idle_workers: int


def problem(slug: str, title: str, detail: str) -> dict[str, Any]:
    """Build the value of `jobs.error`: why a job failed, as an RFC 9457 problem."""
    return {"type": f"/problems/{slug}", "title": title, "detail": detail}
