"""The charts of a report: loss, learning rate, and speed, over the steps."""

from collections.abc import Sequence

from quire.client.replies import Metric
from quire.report.contents import ReportContents
from quire.report.svg import Line, Moment, line_chart
from quire.terminal import formatting
from quire.watch import curves
from quire.watch.chart import Point
from quire.watch.history import ROUTINE, describe_event

LOSS_SIZE, SMALL_SIZE = (760, 340), (370, 200)
#: With more judged points than that their marks would hide the line.
MAX_MARKS = 80


def charts(contents: ReportContents) -> str:
    """The section with all charts."""
    return f"""<section>
<h2>Loss</h2>
{_loss(contents)}
<div class="pair">
{_small(contents, "rate", "Learning rate", "learning rate", "learning_rate")}
{_small(contents, "speed", "Speed", "characters per second", "characters_per_second")}
</div>
</section>"""


def _loss(contents: ReportContents) -> str:
    judged = contents.judged
    marks = [_told(point) for point in judged] if len(judged) <= MAX_MARKS else []
    best, last = contents.best, contents.points[-1]
    description = f"Training and validation loss over {last.step:,} steps."
    if best is not None:
        description += (
            f" Validation is best at epoch {best.epoch:g}, with {formatting.loss(best.val_loss)}."
        )
    moments = _moments(contents)
    svg = line_chart(
        "loss",
        f"Loss of {contents.name}",
        description,
        [
            Line("train", _line(curves.training(contents.points), "loss")),
            Line("validation", _line(judged, "val_loss"), marks),
        ],
        size=LOSS_SIZE,
        x_name="step",
        y_name=f"nats per {contents.token}",
        y_range=curves.loss_range(contents.points),
        moments=moments,
    )
    legend = ['<span class="train">training</span>']
    if judged:
        legend.append('<span class="validation">validation, on text held out</span>')
    if moments:
        legend.append('<span class="moment">see the history below</span>')
    return f'<figure>\n{svg}\n<figcaption class="legend">{"".join(legend)}</figcaption>\n</figure>'


def _small(contents: ReportContents, name: str, title: str, y_name: str, value: str) -> str:
    points = _line(contents.points, value)
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


def _moments(contents: ReportContents) -> list[Moment]:
    """Where the training went back to a checkpoint."""
    return [
        Moment(float(step), describe_event(event))
        for event in contents.events
        if event.type not in ROUTINE and (step := curves.rewind_step(event)) is not None
    ]


def _line(points: Sequence[Metric], value: str) -> list[Point]:
    return [
        (float(point.step), number)
        for point in points
        if (number := getattr(point, value)) is not None
    ]


def _told(point: Metric) -> str:
    training = f", training {formatting.loss(point.loss)}" if point.loss is not None else ""
    return f"Epoch {point.epoch:g}: validation {formatting.loss(point.val_loss)}{training}"
