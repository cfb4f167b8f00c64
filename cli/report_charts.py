"""The charts of a report: loss, learning rate, and speed, over the steps."""

from collections.abc import Sequence

from cli import curves, wording
from cli.chart import Point
from cli.findings import Findings
from cli.history import ROUTINE, told
from cli.replies import Metric
from cli.svg import Line, Moment, line_chart

LOSS_SIZE, SMALL_SIZE = (760, 340), (370, 200)
#: With more judged points than that their marks would hide the line.
MAX_MARKS = 80


def charts(findings: Findings) -> str:
    """The section with all charts."""
    return f"""<section>
<h2>Loss</h2>
{_loss(findings)}
<div class="pair">
{_small(findings, "rate", "Learning rate", "learning rate", "learning_rate")}
{_small(findings, "speed", "Speed", "characters per second", "characters_per_second")}
</div>
</section>"""


def _loss(findings: Findings) -> str:
    judged = findings.judged
    marks = [_told(point) for point in judged] if len(judged) <= MAX_MARKS else []
    best, last = findings.best, findings.points[-1]
    description = f"Training and validation loss over {last.step:,} steps."
    if best is not None:
        description += (
            f" Validation is best at epoch {best.epoch:g}, with {wording.loss(best.val_loss)}."
        )
    moments = _moments(findings)
    svg = line_chart(
        "loss",
        f"Loss of {findings.name}",
        description,
        [
            Line("train", _line(curves.training(findings.points), "loss")),
            Line("validation", _line(judged, "val_loss"), marks),
        ],
        size=LOSS_SIZE,
        x_name="step",
        y_name=f"nats per {findings.token}",
        y_range=curves.loss_range(findings.points),
        moments=moments,
    )
    legend = ['<span class="train">training</span>']
    if judged:
        legend.append('<span class="validation">validation, on text held out</span>')
    if moments:
        legend.append('<span class="moment">see the history below</span>')
    return f'<figure>\n{svg}\n<figcaption class="legend">{"".join(legend)}</figcaption>\n</figure>'


def _small(findings: Findings, name: str, title: str, y_name: str, value: str) -> str:
    points = _line(findings.points, value)
    if not points:
        return ""
    svg = line_chart(
        name,
        f"{title} of {findings.name}",
        f"The {y_name} over {findings.points[-1].step:,} steps.",
        [Line("train", points)],
        size=SMALL_SIZE,
        x_name="step",
        y_name="" if y_name == title.lower() else y_name,
        y_range=(0.0, max(y for _, y in points)),
    )
    return f"<figure>\n<h3>{title}</h3>\n{svg}\n</figure>"


def _moments(findings: Findings) -> list[Moment]:
    """Where the training went back to a checkpoint."""
    return [
        Moment(float(step), told(event))
        for event in findings.events
        if event.type not in ROUTINE and (step := curves.returned_to(event)) is not None
    ]


def _line(points: Sequence[Metric], value: str) -> list[Point]:
    return [
        (float(point.step), number)
        for point in points
        if (number := getattr(point, value)) is not None
    ]


def _told(point: Metric) -> str:
    training = f", training {wording.loss(point.loss)}" if point.loss is not None else ""
    return f"Epoch {point.epoch:g}: validation {wording.loss(point.val_loss)}{training}"
