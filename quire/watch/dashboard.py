"""The live picture of a training: curves, numbers, newest texts and events, sized to a terminal."""

from collections.abc import Iterator

from rich.console import Console, ConsoleOptions, RenderResult
from rich.spinner import Spinner
from rich.text import Text

from quire.client.replies import Event, Job, Metric
from quire.client.replies import Text as Written
from quire.terminal import formatting
from quire.watch import chart, curves
from quire.watch.chart import Series
from quire.watch.follow import details, headline
from quire.watch.history import ROUTINE, told
from quire.watch.watcher import News

TRAINING, VALIDATION = "cyan", "yellow"
MAX_CHART_ROWS = 22
#: Below this the texts make room for the curves.
WANTED_CHART_ROWS = 12
MAX_COLUMNS = 160
MAX_EVENTS = 3
MAX_TEXT_ROWS = 3
#: The headline, a blank line below it, what is said of the server, and the cursor's line.
OTHER_ROWS = 4
#: Of so many points the picture keeps half: no terminal shows more of them.
MAX_POINTS = 4000


class Dashboard:
    """A training as a picture that grows with the news; rich draws it.

    Args:
        job: Its present state.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._points: list[Metric] = []
        self._events: list[Event] = []
        self._texts: list[Written] = []
        self._away: str | None = None
        self._spinner = Spinner("dots", style="cyan")

    def add(self, news: News) -> None:
        """Take what is new into the picture."""
        self._job = news.job
        self._events += news.events
        points = {point.step: point for point in [*self._points, *news.points]}
        self._points = _halved(curves.standing(points.values(), self._events))
        if news.texts:
            newest = max(text.step or 0 for text in news.texts)
            self._texts = [text for text in news.texts if (text.step or 0) == newest]
        self._away = None

    def say(self, message: str) -> None:
        """Show that the server is away, until news come."""
        self._away = message

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        columns = min(options.max_width, MAX_COLUMNS)
        yield headline(self._job, self._spinner)
        yield Text()
        events, texts = list(self._event_lines()), self._text_lines(columns, 0)
        if self._points:
            numbers = self._numbers(columns)
            free = options.size.height - OTHER_ROWS - len(numbers) - len(events) - bool(events)
            rows_each = _rows_each(free - WANTED_CHART_ROWS, len(self._texts))
            texts = self._text_lines(columns, rows_each)
            rows = min(free - len(texts) - bool(texts), MAX_CHART_ROWS)
            yield from self._chart_lines(columns, rows)
            yield from numbers
        for lines in (texts, events):
            if lines:
                yield Text()
                yield from (_cut(line, columns) for line in lines)
        if self._away:
            yield _cut(Text(self._away, "yellow"), columns)

    def _chart_lines(self, columns: int, rows: int) -> Iterator[Text]:
        losses = curves.loss_range(self._points)
        if rows < chart.MIN_ROWS or losses is None:
            return
        series = [
            Series("training", TRAINING, _line(curves.training(self._points), "loss")),
            Series(
                "validation", VALIDATION, _line(curves.validation(self._points), "val_loss"), True
            ),
        ]
        for line in chart.draw(series, columns=columns, rows=rows, x_name="epoch", y_range=losses):
            line.no_wrap = True
            yield line

    def _numbers(self, columns: int) -> list[Text]:
        parts = [details(self._job.progress, speed=False)] if self._job.progress else []
        best = curves.best(self._points)
        if best is not None:
            parts.append(f"best {formatting.loss(best.val_loss)} at epoch {best.epoch:g}")
        if self._job.progress and self._job.progress.learning_rate is not None:
            parts.append(f"rate {self._job.progress.learning_rate:.3g}")
        whole = Text(" · ".join(part for part in parts if part), "dim")
        return list(whole.wrap(_PLAIN, columns))

    def _event_lines(self) -> Iterator[Text]:
        shown = [event for event in self._events if event.type not in ROUTINE]
        for event in shown[-MAX_EVENTS:]:
            yield Text.assemble((formatting.clock(event.at), "dim"), f"  {told(event)}")

    def _text_lines(self, columns: int, rows_each: int) -> list[Text]:
        if not rows_each or not self._texts:
            return []
        epoch = self._texts[0].epoch
        lines = [Text(f"written after epoch {epoch:g}" if epoch is not None else "written", "dim")]
        for text in self._texts:
            label = f"{text.temperature:>4g}  "
            width = columns - len(label)
            whole = Text(" ".join(text.text.split()))
            pieces = whole.wrap(_PLAIN, width)[:rows_each]
            for number, piece in enumerate(pieces):
                start = label if number == 0 else " " * len(label)
                lines.append(Text.assemble((start, "magenta"), piece))
        return lines


#: Only measures; nothing is ever printed on it.
_PLAIN = Console(width=MAX_COLUMNS, color_system=None)


def _rows_each(free: int, count: int) -> int:
    """How many rows each of `count` texts may take, with a title and a blank line above."""
    return max(0, min(MAX_TEXT_ROWS, (free - 2) // count)) if count else 0


def _line(points: list[Metric], value: str) -> list[chart.Point]:
    return [(point.epoch, getattr(point, value)) for point in points]


def _halved(points: list[Metric]) -> list[Metric]:
    if len(points) <= MAX_POINTS:
        return points
    kept = [point for i, point in enumerate(points) if i % 2 == 0 or point.val_loss is not None]
    return kept if kept[-1] is points[-1] else [*kept, points[-1]]


def _cut(line: Text, columns: int) -> Text:
    line.truncate(columns, overflow="ellipsis")
    line.no_wrap = True
    return line
