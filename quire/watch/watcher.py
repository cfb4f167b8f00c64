"""What is new of a job, asked for again and again: its curves, its history and its texts."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from quire.client import Client
from quire.client.replies import Event, Job, Metric, Text
from quire.watch.curves import returned_to, standing
from quire.watch.follow import patiently

#: Newest first, so many texts hold every temperature of the last epoch.
NEWEST_TEXTS = 8
#: A picture needs no more of a curve than that; a terminal is seldom wider than 250 columns.
POINTS = 1000


@dataclass(frozen=True, slots=True)
class News:
    """What was not known before.

    Attributes:
        job: As it is now.
        points: In the order of their steps.
        events: In their order.
        texts: Written while it learnt, in their order.
    """

    job: Job
    points: list[Metric] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    texts: list[Text] = field(default_factory=list)


class Watcher:
    """Asks for what is new of one training.

    Args:
        client: The server.
        job: Its present state.
        thin: Whether a look at what is long past may leave points and texts out.
        say: Told when the server is away, and when it is back.
    """

    def __init__(
        self, client: Client, job: Job, *, thin: bool, say: Callable[[str], None] | None = None
    ) -> None:
        self._client = client
        self._job = job
        self._thin = thin
        self._say = say
        self._step: int | None = None
        self._event: int | None = None
        self._returns: list[Event] = []
        self._text_step: int | None = None

    def news(self) -> News:
        """Everything that is new since the last call.

        Raises:
            ServerUnreachable: The server was away for too long.
            ApiError: It refused.
        """
        return patiently(self._news, self._say)

    def _news(self) -> News:
        # The job comes first: once it has ended, all that is asked for afterwards is its last.
        job = self._client.job(self._job.id)
        events = list(self._client.job_history(job.id, after=self._event))
        returns = [*self._returns, *(each for each in events if returned_to(each) is not None)]
        # A training that went back to a checkpoint passes the steps behind it again.
        steps = [self._step, *map(returned_to, events)] if self._step is not None else []
        after = min((step for step in steps if step is not None), default=None)
        points = standing(self._points(after), returns)
        texts = list(self._texts())
        # Only now, when nothing can fail any more, so that a second try misses nothing.
        self._job, self._returns = job, returns
        self._event = events[-1].id if events else self._event
        self._step = points[-1].step if points else after
        self._text_step = max([self._text_step or 0, *(text.step or 0 for text in texts)])
        return News(job, points, events, texts)

    def _points(self, after: int | None) -> Iterator[Metric]:
        points = POINTS if self._thin and after is None else None
        return self._client.job_metrics(self._job.id, after=after, points=points)

    def _texts(self) -> Iterator[Text]:
        if self._job.spec.get("sample") is None:
            return
        if self._thin and self._text_step is None:
            yield from _last_written(islice(self._client.texts(job=self._job.id), NEWEST_TEXTS))
        else:
            yield from self._client.job_texts(self._job.id, after=self._text_step)


def _last_written(texts: Iterable[Text]) -> list[Text]:
    """Of the newest texts those of the last step, in their order."""
    found = sorted(texts, key=lambda text: (text.step or 0, text.index or 0))
    return [text for text in found if text.step == found[-1].step]
