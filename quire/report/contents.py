"""The contents of a report, fetched from the server at once."""

import statistics
from dataclasses import dataclass
from typing import Any

from quire.client import ApiError, Client, curves
from quire.client.replies import Checkpoint, Corpus, Event, Job, Metric, Text
from quire.errors import InvalidInput

#: The most points of a curve on a page.
MAX_POINTS = 1200


@dataclass(frozen=True, slots=True)
class ReportContents:
    """A training with everything that its report shows.

    Attributes:
        job: The training's job.
        corpus: The corpus; None if it was deleted or is not visible to this user.
        points: The points of the loss curves, thinned to `MAX_POINTS`.
        validations: All points with a validation loss.
        events: The job's history.
        texts: The sample texts, ordered by step and temperature.
        checkpoints: The job's own checkpoints, ordered by step.
    """

    job: Job
    corpus: Corpus | None
    points: list[Metric]
    validations: list[Metric]
    events: list[Event]
    texts: list[Text]
    checkpoints: list[Checkpoint]

    @property
    def name(self) -> str:
        """The job's name, or its id if it has none."""
        return self.job.name or self.job.id

    @property
    def token(self) -> str:
        """The unit of the losses: they are in nats per character or per token."""
        return "token" if self.job.spec.get("tokenizer") == "word" else "character"

    @property
    def tokens(self) -> int:
        """The tokens of the whole text; 0 if a server of an earlier release trained on it."""
        return int(self._held_out.get("tokens", 0))

    @property
    def pieces(self) -> list[tuple[int, int]]:
        """The first token of each held-out piece, and the one after its last."""
        return [(first, end) for first, end in self._held_out.get("pieces", [])]

    @property
    def _held_out(self) -> dict[str, Any]:
        return next((event.data for event in self.events if event.type == "held_out"), {})

    @property
    def best(self) -> Metric | None:
        """The point with the least validation loss."""
        return curves.best(self.validations)

    @property
    def seconds(self) -> float | None:
        """The duration from the start to the end, or to the last point."""
        if self.job.started_at is None:
            return None
        ended = self.job.finished_at or self.points[-1].at
        return (ended - self.job.started_at).total_seconds()

    @property
    def characters_per_second(self) -> float | None:
        """The median speed, or None if no speed is known."""
        speeds = [point.characters_per_second for point in self.points]
        return statistics.median([speed for speed in speeds if speed] or [0.0]) or None

    @property
    def fingerprint(self) -> dict[str, Any]:
        """The hardware and the versions that the newest checkpoint was computed with."""
        return self.checkpoints[-1].fingerprint if self.checkpoints else {}

    @property
    def workers(self) -> list[str]:
        """The workers that ran the job, in order."""
        names = [str(event.data.get("worker")) for event in self.events if event.type == "claimed"]
        return list(dict.fromkeys(names))

    def texts_by_temperature(self) -> dict[float, list[Text]]:
        """Group the texts by temperature, in ascending order."""
        groups: dict[float, list[Text]] = {}
        for text in self.texts:
            groups.setdefault(text.temperature, []).append(text)
        return dict(sorted(groups.items()))


def fetch_contents(client: Client, job: Job) -> ReportContents:
    """Fetch everything that the report of a training shows.

    Raises:
        InvalidInput: The job is not a training, or it has no loss curve yet.
    """
    name = job.name or job.id
    if job.kind != "train":
        raise InvalidInput(
            f"job {name} is not a training (its kind is {job.kind}), and only a training has a "
            "report. `quire jobs --kind train` lists the trainings"
        )
    events = list(client.job_history(job.id))
    points = curves.current_points(client.job_metrics(job.id, points=MAX_POINTS), events)
    if not points:
        raise InvalidInput(
            f"training {name} has no loss curve yet (it is {job.status}). "
            f"`quire job watch {job.id}` shows its progress"
        )
    texts = sorted(
        client.job_texts(job.id), key=lambda text: (text.step or 0, text.index or 0, text.id)
    )
    checkpoints = [item for item in _checkpoints(client, job) if item.job == job.id]
    return ReportContents(
        job=job,
        corpus=_corpus(client, job),
        points=points,
        validations=curves.current_points(client.job_metrics(job.id, validation=True), events),
        events=events,
        texts=texts,
        checkpoints=sorted(checkpoints, key=lambda item: item.step),
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
