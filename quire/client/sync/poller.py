# Written by `make client` from quire/client/aio/poller.py: change that file.
"""Poll a training for new points of its loss curves, events and texts."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from quire.client.curves import current_points, rewind_step
from quire.client.replies import Event, Job, Metric, Text
from quire.client.sync.retry import Notify, retry_while_unreachable
from quire.client.sync.routes import Routes

#: This many of the newest texts include every temperature of the last epoch.
NEWEST_TEXTS = 8
#: A chart needs no more points of a curve; a terminal is seldom wider than 250 columns.
MAX_POINTS = 1000


@dataclass(frozen=True, slots=True)
class TrainingUpdate:
    """What is new since the last poll.

    Attributes:
        job: The current state of the job.
        points: New points of the loss curves, by step.
        events: New events of the history, in order.
        texts: New texts that were generated during the training, in order.
    """

    job: Job
    points: list[Metric] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    texts: list[Text] = field(default_factory=list)


class TrainingPoller:
    """Polls one training.

    Args:
        client: The server.
        job: The current state of the job.
        thin: Whether the first poll may leave out points and older texts.
        notify: Called when the server becomes unreachable, and when it is back.
    """

    def __init__(
        self, client: Routes, job: Job, *, thin: bool, notify: Notify | None = None
    ) -> None:
        self._client = client
        self._job = job
        self._thin = thin
        self._notify = notify
        self._last_step: int | None = None
        self._last_event_id: int | None = None
        self._rewinds: list[Event] = []
        self._last_text_step: int | None = None

    def poll(self) -> TrainingUpdate:
        """Return everything that is new since the last call.

        Raises:
            ServerUnreachable: The server was unreachable for too long.
            ApiError: The server refused a request.
        """
        return retry_while_unreachable(self._poll, self._notify)

    def _poll(self) -> TrainingUpdate:
        # The job is fetched first: if it has ended, what is fetched after it is complete.
        job = self._client.job(self._job.id)
        history = self._client.job_history(job.id, after=self._last_event_id)
        events = [event for event in history]
        rewinds = [*self._rewinds, *(event for event in events if rewind_step(event) is not None)]
        # A training that went back to a checkpoint repeats the steps after it.
        steps = [self._last_step, *map(rewind_step, events)] if self._last_step is not None else []
        after = min((step for step in steps if step is not None), default=None)
        points = current_points([point for point in self._points(after)], rewinds)
        texts = [text for text in self._texts()]
        # Only now, when no request can fail any more, so that a retried poll misses nothing.
        self._job, self._rewinds = job, rewinds
        self._last_event_id = events[-1].id if events else self._last_event_id
        self._last_step = points[-1].step if points else after
        self._last_text_step = max([self._last_text_step or 0, *(text.step or 0 for text in texts)])
        return TrainingUpdate(job, points, events, texts)

    def _points(self, after: int | None) -> Iterator[Metric]:
        points = MAX_POINTS if self._thin and after is None else None
        return self._client.job_metrics(self._job.id, after=after, points=points)

    def _texts(self) -> Iterator[Text]:
        if self._job.spec.get("sample") is None:
            return
        if self._thin and self._last_text_step is None:
            newest: list[Text] = []
            for text in self._client.texts(job=self._job.id):
                newest.append(text)
                if len(newest) == NEWEST_TEXTS:
                    break
            for text in _of_last_step(newest):
                yield text
        else:
            for text in self._client.job_texts(self._job.id, after=self._last_text_step):
                yield text


def _of_last_step(texts: Iterable[Text]) -> list[Text]:
    """Return the texts of the last step among `texts`, in order."""
    ordered = sorted(texts, key=lambda text: (text.step or 0, text.index or 0))
    return [text for text in ordered if text.step == ordered[-1].step]
