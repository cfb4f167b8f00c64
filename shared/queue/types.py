"""What crosses the boundary of the queue: small, frozen, and typed."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from shared.tables import Kind


@dataclass(frozen=True, slots=True)
class Submission:
    """A job that somebody asks for.

    Attributes:
        priority: Of the user's own jobs the one with the least number runs first.
        after_job_id: Only once this job of theirs has succeeded.
        start_before: It fails if it has not started by then.
        deadline_seconds: It fails when it has run for longer.
    """

    kind: Kind
    user_id: str
    name: str
    spec: dict[str, Any]
    model_id: str
    corpus_id: str
    priority: int = 0
    after_job_id: str | None = None
    start_before: datetime | None = None
    deadline_seconds: float | None = None
    estimate: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to run a job, until the lease ends.

    Attributes:
        attempt: The fencing token.
        claimed_at: Since when its worker has it.
        charged_seconds: Device time that its owner was charged in advance.
        alone: It shares a batch with nobody.
        checkpoint_id: What a generation writes with, the same in all its attempts; None where the
            model has no checkpoint of the name that was asked for.
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


@dataclass(frozen=True, slots=True)
class Orders:
    """What a heartbeat brings back.

    Attributes:
        cancel: Its owner wants the job to end.
        drain: The worker is to stop.
        pause: Its owner wants the job to stand still.
        yield_: Somebody less served waits, and the job has had its quantum.
        overdue: It has run for longer than its deadline.
    """

    cancel: bool = False
    drain: bool = False
    pause: bool = False
    yield_: bool = False
    overdue: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a training stands. Losses are in nats per token, `bits_per_char` is `val_loss`'s."""

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
    """A checkpoint whose bytes are stored already, under `sha256`.

    `exact` is false where a part of its training was computed under another fingerprint.
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
    """A written text.

    Attributes:
        requested: False for one sampled while a network learned.
        temperature_to: The temperature at its end, where a schedule changed it.
        echo: Whether it is shown with its prompt before it.
        mean_logprob: Of its tokens under the network's own distribution, in nats.
        logprobs: Of each token, where they were asked for.
        copied_characters: This and the last three are those of `worker.ml.novelty.Novelty`; None
            where the corpus is gone or too large.
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
    copied_characters: int | None = None
    copied_at: int | None = None
    copied_from: int | None = None
    known_grams: float | None = None


@dataclass(frozen=True, slots=True)
class Rescue:
    """What became of a job whose lease ran out."""

    job_id: str
    kind: Kind
    attempt: int
    outcome: Literal["queued", "paused", "succeeded", "failed", "cancelled"]


@dataclass(frozen=True, slots=True)
class Waiting:
    """A job that is queued, and since when."""

    job_id: str
    kind: Kind
    created_at: datetime


def problem(slug: str, title: str, detail: str) -> dict[str, Any]:
    """Why a job failed, in the form of RFC 9457, as `jobs.error` keeps it."""
    return {"type": f"/problems/{slug}", "title": title, "detail": detail}
