"""Everything that a report tells of a training, fetched once."""

import statistics
from dataclasses import dataclass
from typing import Any

from quire.client import Client
from quire.client.replies import Checkpoint, Corpus, Event, Job, Metric, Text
from quire.client.transport import ApiError
from quire.errors import InvalidInput
from quire.watch import curves

#: A page shows no more of a curve than that.
POINTS = 1200


@dataclass(frozen=True, slots=True)
class ReportContents:
    """A training, and what is known of it.

    Attributes:
        job: Its state.
        corpus: What it learnt from; None where that was deleted or is not to be seen.
        points: Of its loss curves, thinned.
        judged: All points with a validation loss.
        events: Its history.
        texts: Written while it learnt, in the order of their steps and temperatures.
        checkpoints: Its own, by step.
    """

    job: Job
    corpus: Corpus | None
    points: list[Metric]
    judged: list[Metric]
    events: list[Event]
    texts: list[Text]
    checkpoints: list[Checkpoint]

    @property
    def name(self) -> str:
        """What people call it."""
        return self.job.name or self.job.id

    @property
    def token(self) -> str:
        """What its losses are told of each."""
        return "token" if self.job.spec.get("tokenizer") == "word" else "character"

    @property
    def best(self) -> Metric | None:
        """Where it was judged best."""
        return curves.best(self.judged)

    @property
    def seconds(self) -> float | None:
        """From its start to its end, or to its last point."""
        if self.job.started_at is None:
            return None
        ended = self.job.finished_at or self.points[-1].at
        return (ended - self.job.started_at).total_seconds()

    @property
    def characters_per_second(self) -> float | None:
        """The median speed."""
        speeds = [point.characters_per_second for point in self.points]
        return statistics.median([speed for speed in speeds if speed] or [0.0]) or None

    @property
    def fingerprint(self) -> dict[str, Any]:
        """What it was computed with, as its newest checkpoint says."""
        return self.checkpoints[-1].fingerprint if self.checkpoints else {}

    @property
    def workers(self) -> list[str]:
        """The workers that ran it, in their order."""
        names = [str(event.data.get("worker")) for event in self.events if event.type == "claimed"]
        return list(dict.fromkeys(names))

    def texts_by_temperature(self) -> dict[float, list[Text]]:
        """The texts of each temperature, from careful to wild."""
        found: dict[float, list[Text]] = {}
        for text in self.texts:
            found.setdefault(text.temperature, []).append(text)
        return dict(sorted(found.items()))


def find_out(client: Client, job: Job) -> ReportContents:
    """Fetch all of a training.

    Raises:
        InvalidInput: The job is no training, or has no loss curve yet.
    """
    name = job.name or job.id
    if job.kind != "train":
        raise InvalidInput(
            f"job {name} is no training ({job.kind}): a report shows how a model learnt. "
            "`quire jobs --kind train` lists the trainings"
        )
    events = list(client.job_history(job.id))
    points = curves.current_points(client.job_metrics(job.id, points=POINTS), events)
    if not points:
        raise InvalidInput(
            f"training {name} has no loss curve yet (it is {job.status}): "
            f"`quire job watch {job.id}` shows when it has"
        )
    texts = sorted(
        client.job_texts(job.id), key=lambda text: (text.step or 0, text.index or 0, text.id)
    )
    checkpoints = [each for each in _checkpoints(client, job) if each.job == job.id]
    return ReportContents(
        job=job,
        corpus=_corpus(client, job),
        points=points,
        judged=curves.current_points(client.job_metrics(job.id, validation=True), events),
        events=events,
        texts=texts,
        checkpoints=sorted(checkpoints, key=lambda each: each.step),
    )


def _checkpoints(client: Client, job: Job) -> list[Checkpoint]:
    if job.model is None:
        return []
    try:
        return list(client.checkpoints(job.model))
    except ApiError as error:
        if error.status != 404:
            raise
        return []


def _corpus(client: Client, job: Job) -> Corpus | None:
    if job.corpus is None:
        return None
    try:
        return client.corpus(job.corpus)
    except ApiError as error:
        if error.status != 404:
            raise
        return None
