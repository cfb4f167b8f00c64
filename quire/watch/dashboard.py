"""The dashboard of a training: curves, numbers, newest texts and events, sized to a terminal."""

from collections.abc import Iterator

from rich.console import Console, ConsoleOptions, RenderResult
from rich.spinner import Spinner
from rich.text import Text

from quire.client import curves
from quire.client.replies import Event, Job, Metric
from quire.client.replies import Text as GeneratedText
from quire.client.sync.poller import TrainingUpdate
from quire.terminal import formatting
from quire.watch import chart
from quire.watch.chart import Series
from quire.watch.history import ROUTINE, describe_event
from quire.watch.wait import progress_text, status_line
from shared.hidden_characters import visible

TRAINING, VALIDATION = "cyan", "yellow"
MAX_CHART_ROWS = 22
#: The texts shrink before the chart falls below this height.
PREFERRED_CHART_ROWS = 12
MAX_COLUMNS = 160
MAX_EVENTS = 3
MAX_TEXT_ROWS = 3
#: The status line, the blank line below it, the message about the server, the cursor's line.
OTHER_ROWS = 4
#: Beyond this many points, every second one is dropped: no terminal shows more.
MAX_POINTS = 4000


class Dashboard:
    """A rich renderable that shows a training and grows with its updates.

    Args:
        job: The current state of the job.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._points: list[Metric] = []
        self._events: list[Event] = []
        self._texts: list[GeneratedText] = []
        self._message: str | None = None
        self._spinner = Spinner("dots", style="cyan")

    def add(self, update: TrainingUpdate) -> None:
        """Add an update."""
        self._job = update.job
        self._events += update.events
        points = {point.step: point for point in [*self._points, *update.points]}
        self._points = _thinned(curves.current_points(points.values(), self._events))
        if update.texts:
            newest = max(text.step or 0 for text in update.texts)
            self._texts = [text for text in update.texts if (text.step or 0) == newest]
        self._message = None

    def notify(self, message: str) -> None:
        """Show a message about the server until the next update."""
        self._message = message

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        columns = min(options.max_width, MAX_COLUMNS)
        yield status_line(self._job, self._spinner)
        yield Text()
        events, texts = list(self._event_lines()), self._text_lines(columns, 0)
        if self._points:
            numbers = self._numbers(columns)
            free = options.size.height - OTHER_ROWS - len(numbers) - len(events) - bool(events)
            rows_each = _rows_each(free - PREFERRED_CHART_ROWS, len(self._texts))
            texts = self._text_lines(columns, rows_each)
            rows = min(free - len(texts) - bool(texts), MAX_CHART_ROWS)
            yield from self._chart_lines(columns, rows)
            yield from numbers
        for lines in (texts, events):
            if lines:
                yield Text()
                yield from (_truncated(line, columns) for line in lines)
        if self._message:
            yield _truncated(Text(visible(self._message), "yellow"), columns)

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
        parts = [progress_text(self._job.progress, speed=False)] if self._job.progress else []
        best = curves.best(self._points)
        if best is not None:
            parts.append(f"best {formatting.loss(best.val_loss)} at epoch {best.epoch:g}")
        if self._job.progress and self._job.progress.learning_rate is not None:
            parts.append(f"learning rate {self._job.progress.learning_rate:.3g}")
        whole = Text(" · ".join(part for part in parts if part), "dim")
        return list(whole.wrap(_MEASURE, columns))

    def _event_lines(self) -> Iterator[Text]:
        shown = [event for event in self._events if event.type not in ROUTINE]
        for event in shown[-MAX_EVENTS:]:
            yield Text.assemble(
                (formatting.clock(event.at), "dim"), f"  {visible(describe_event(event))}"
            )

    def _text_lines(self, columns: int, rows_each: int) -> list[Text]:
        if not rows_each or not self._texts:
            return []
        epoch = self._texts[0].epoch
        lines = [
            Text(f"generated after epoch {epoch:g}" if epoch is not None else "generated", "dim")
        ]
        for text in self._texts:
            label = f"{text.temperature:>4g}  "
            width = columns - len(label)
            whole = Text(visible(" ".join(text.text.split())))
            pieces = whole.wrap(_MEASURE, width)[:rows_each]
            for number, piece in enumerate(pieces):
                start = label if number == 0 else " " * len(label)
                lines.append(Text.assemble((start, "magenta"), piece))
        return lines


#: Only used to wrap lines; nothing is printed to it.
_MEASURE = Console(width=MAX_COLUMNS, color_system=None)


def _rows_each(free: int, count: int) -> int:
    """Return how many rows each of `count` texts may take, below a title and a blank line."""
    return max(0, min(MAX_TEXT_ROWS, (free - 2) // count)) if count else 0


def _line(points: list[Metric], value: str) -> list[chart.Point]:
    return [(point.epoch, getattr(point, value)) for point in points]


def _thinned(points: list[Metric]) -> list[Metric]:
    if len(points) <= MAX_POINTS:
        return points
    kept = [point for i, point in enumerate(points) if i % 2 == 0 or point.val_loss is not None]
    return kept if kept[-1] is points[-1] else [*kept, points[-1]]


def _truncated(line: Text, columns: int) -> Text:
    line.truncate(columns, overflow="ellipsis")
    line.no_wrap = True
    return line
