# Written by `make client` from quire/client/aio/training.py: change that file.
"""Trainings: watched point by point, until they give a model."""

from collections.abc import Iterator
from datetime import datetime

from quire.client import replies
from quire.client.curves import current_points
from quire.client.handles import take_fields
from quire.client.outcome import JobUpdate, require_success, told_of_interruption
from quire.client.sync import runtime
from quire.client.sync.job import Job
from quire.client.sync.model import Model, model_of
from quire.client.sync.poller import TrainingPoller
from quire.client.sync.retry import retry_while_unreachable
from quire.errors import NotFound

WATCH_SECONDS = 1.0


class Training(Job):
    """A job that trains a model."""

    def watch(self) -> Iterator[JobUpdate]:
        """Yield what is new of the training until it has ended: points, texts and states.

        All points of the loss curves come, also those before the call. When the connection breaks
        or the server restarts, nothing is missing or repeated; a training that went back to a
        checkpoint repeats its steps. Ctrl-C stops watching; the job goes on.

        Raises:
            ServerUnreachable: The server was unreachable for too long.
        """
        poller = TrainingPoller(self._routes, self, thin=False)
        shown: tuple[object, ...] | None = None
        points: list[replies.Metric] = []
        events: list[replies.Event] = []
        with told_of_interruption(self):
            while True:
                update = poller.poll()
                take_fields(self, update.job)
                points, events = [*points, *update.points], [*events, *update.events]
                self._points = current_points(points, events)
                news = [
                    *((point.at, JobUpdate(self.status, metric=point)) for point in update.points),
                    *((self._time_of(text), JobUpdate(self.status, text=text))
                      for text in update.texts),
                ]  # fmt: skip
                for _, each in sorted(news, key=lambda item: item[0]):
                    yield each
                state = (self.status, self.attempt, self.cancel_requested, self.pause_requested)
                if state != shown:
                    shown = state
                    yield JobUpdate(self.status)
                if self.ended:
                    return
                runtime.sleep(WATCH_SECONDS)

    def result(self, timeout: float | None = None, *, progress: bool | None = None) -> Model:
        """Wait for the model. The arguments are those of `wait`.

        Raises:
            JobFailed: The training failed.
            JobCancelled: The training was cancelled; `trained_model` has what it had learnt.
            WaitTimeout: The training has not ended in time, and goes on.
        """
        self.wait(timeout, progress=progress)
        require_success(self)
        return self.trained_model()

    def trained_model(self) -> Model:
        """Get the model that is being trained; it can write once it has a checkpoint.

        Raises:
            NotFound: The model was deleted.
        """
        model = self.model
        if model is None:
            raise NotFound(f"the model of job {self.name or self.id} was deleted")

        def ask() -> replies.Model:
            return self._routes.model(model)

        return model_of(self._routes, retry_while_unreachable(ask))

    def curve(self) -> list[replies.Metric]:
        """Get the points of the loss curves that count, thinned to some hundred."""
        return self._fetch_points()

    def metrics(self, *, after: int | None = None) -> Iterator[replies.Metric]:
        """List all points of the loss curves; `after` leaves out those up to that step."""
        return self._routes.job_metrics(self.id, after=after)

    def sample_texts(self) -> Iterator[replies.Text]:
        """List the texts that were written during the training, in order."""
        return self._routes.job_texts(self.id)

    def _time_of(self, text: replies.Text) -> datetime:
        return text.created_at or self.created_at
