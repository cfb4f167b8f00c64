"""Trainings: watched point by point, until they give a model."""

from collections.abc import AsyncIterator
from datetime import datetime

from quire.client import replies
from quire.client.aio import runtime
from quire.client.aio.job import AsyncJob
from quire.client.aio.model import AsyncModel, model_of
from quire.client.aio.poller import AsyncTrainingPoller
from quire.client.aio.retry import retry_while_unreachable
from quire.client.curves import current_points
from quire.client.handles import take_fields
from quire.client.outcome import JobUpdate, require_success, told_of_interruption
from quire.errors import NotFound

WATCH_SECONDS = 1.0


class AsyncTraining(AsyncJob):
    """A job that trains a model."""

    async def watch(self) -> AsyncIterator[JobUpdate]:
        """Yield what is new of the training until it has ended: points, texts and states.

        All points of the loss curves come, also those before the call. When the connection breaks
        or the server restarts, nothing is missing or repeated; a training that went back to a
        checkpoint repeats its steps. Ctrl-C stops watching; the job goes on.

        Raises:
            ServerUnreachable: The server was unreachable for too long.
        """
        poller = AsyncTrainingPoller(self._routes, self, thin=False)
        shown: tuple[object, ...] | None = None
        points: list[replies.Metric] = []
        events: list[replies.Event] = []
        with told_of_interruption(self):
            while True:
                update = await poller.poll()
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
                await runtime.sleep(WATCH_SECONDS)

    async def result(
        self, timeout: float | None = None, *, progress: bool | None = None
    ) -> AsyncModel:
        """Wait for the model. The arguments are those of `wait`.

        Raises:
            JobFailed: The training failed.
            JobCancelled: The training was cancelled; `trained_model` has what it had learnt.
            WaitTimeout: The training has not ended in time, and goes on.
        """
        await self.wait(timeout, progress=progress)
        require_success(self)
        return await self.trained_model()

    async def trained_model(self) -> AsyncModel:
        """Get the model that is being trained; it can write once it has a checkpoint.

        Raises:
            NotFound: The model was deleted.
        """
        model = self.model
        if model is None:
            raise NotFound(f"the model of job {self.name or self.id} was deleted")

        async def ask() -> replies.Model:
            return await self._routes.model(model)

        return model_of(self._routes, await retry_while_unreachable(ask))

    async def curve(self) -> list[replies.Metric]:
        """Get the points of the loss curves that count, thinned to some hundred."""
        return await self._fetch_points()

    def metrics(self, *, after: int | None = None) -> AsyncIterator[replies.Metric]:
        """List all points of the loss curves; `after` leaves out those up to that step."""
        return self._routes.job_metrics(self.id, after=after)

    def sample_texts(self) -> AsyncIterator[replies.Text]:
        """List the texts that were written during the training, in order."""
        return self._routes.job_texts(self.id)

    def _time_of(self, text: replies.Text) -> datetime:
        return text.created_at or self.created_at
