"""The charts of a report: loss, learning rate and speed over the steps."""

from collections.abc import Sequence

from quire.client import curves
from quire.client.replies import Metric
from quire.report.contents import ReportContents
from quire.report.elements import epoch
from quire.report.svg import EventLine, Line, line_chart
from quire.terminal import formatting
from quire.watch.chart import Point
from quire.watch.history import ROUTINE, describe_event

LOSS_SIZE, SMALL_SIZE = (760, 340), (370, 200)
#: More marks than this would hide the line.
MAX_MARKS = 80


def render_charts(contents: ReportContents) -> str:
    """Render the section with all charts."""
    return f"""<section>
<h2>Loss</h2>
{_loss_chart(contents)}
<div class="pair">
{_small_chart(contents, "rate", "Learning rate", "learning rate", "learning_rate")}
{_small_chart(contents, "speed", "Speed", "characters per second", "characters_per_second")}
</div>
</section>"""


def _loss_chart(contents: ReportContents) -> str:
    validations = contents.validations
    labels = [_label(point) for point in validations] if len(validations) <= MAX_MARKS else []
    best, last = contents.best, contents.points[-1]
    description = f"Training and validation loss over {last.step:,} steps."
    if best is not None:
        description += (
            f" The best validation loss is {formatting.loss(best.val_loss)}, at epoch "
            f"{epoch(best.epoch)}."
        )
    event_lines = _event_lines(contents)
    svg = line_chart(
        "loss",
        f"Loss of {contents.name}",
        description,
        [
            Line("train", _curve(curves.training(contents.points), "loss")),
            Line("validation", _curve(validations, "val_loss"), labels),
        ],
        size=LOSS_SIZE,
        x_name="step",
        y_name=f"nats per {contents.token}",
        y_range=curves.loss_range(contents.points),
        event_lines=event_lines,
    )
    legend = ['<span class="train">training</span>']
    if validations:
        legend.append('<span class="validation">validation, on held-out text</span>')
    if event_lines:
        legend.append('<span class="event">an event; see the history below</span>')
    return f'<figure>\n{svg}\n<figcaption class="legend">{"".join(legend)}</figcaption>\n</figure>'


def _small_chart(contents: ReportContents, name: str, title: str, y_name: str, value: str) -> str:
    points = _curve(contents.points, value)
    if not points:
        return ""
    svg = line_chart(
        name,
        f"{title} of {contents.name}",
        f"The {y_name} over {contents.points[-1].step:,} steps.",
        [Line("train", points)],
        size=SMALL_SIZE,
        x_name="step",
        y_name="" if y_name == title.lower() else y_name,
        y_range=(0.0, max(y for _, y in points)),
    )
    return f"<figure>\n<h3>{title}</h3>\n{svg}\n</figure>"


def _event_lines(contents: ReportContents) -> list[EventLine]:
    """Mark the steps at which the training went back to a checkpoint."""
    return [
        EventLine(float(step), describe_event(event))
        for event in contents.events
        if event.type not in ROUTINE and (step := curves.rewind_step(event)) is not None
    ]


def _curve(points: Sequence[Metric], value: str) -> list[Point]:
    return [
        (float(point.step), number)
        for point in points
        if (number := getattr(point, value)) is not None
    ]


def _label(point: Metric) -> str:
    training = f", training {formatting.loss(point.loss)}" if point.loss is not None else ""
    return f"Epoch {epoch(point.epoch)}: validation {formatting.loss(point.val_loss)}{training}"
