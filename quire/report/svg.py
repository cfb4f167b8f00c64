"""A line chart as SVG; the style sheet of the page gives it its colours."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from quire.watch.chart import Point, ticks

LEFT, RIGHT, TOP, BOTTOM = 58, 14, 28, 40
PIXELS_PER_TICK_ACROSS, PIXELS_PER_TICK_DOWN = 75, 34


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a chart.

    Attributes:
        css_class: The CSS class, which sets the colour.
        points: Pairs of x and y, with x ascending.
        labels: The tooltips of the points; only points with a tooltip have a mark.
    """

    css_class: str
    points: Sequence[Point]
    labels: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class EventLine:
    """A vertical line at an x, with its tooltip."""

    x: float
    label: str


def line_chart(
    name: str,
    title: str,
    description: str,
    lines: Sequence[Line],
    *,
    size: tuple[int, int],
    x_name: str,
    y_name: str,
    y_range: tuple[float, float] | None = None,
    event_lines: Sequence[EventLine] = (),
) -> str:
    """Render a chart as one `svg` element, which takes the width of its container.

    Args:
        name: A prefix for ids, unique on the page.
        title: The title, for screen readers and as the tooltip.
        description: A sentence that says what the chart shows, for screen readers.
        lines: The lines, with at least one point among them.
        size: Width and height; a line of text is 12 units high.
        x_name: The name of the x axis.
        y_name: The name of the y axis.
        y_range: The least and greatest y to show; by default, those of the points.
        event_lines: Vertical lines that mark events.
    """
    points = [point for line in lines for point in line.points]
    frame = _Frame.around(points, size, y_range)
    width, height = size
    body = "\n".join(
        [
            *frame.grid(x_name, y_name),
            *(frame.event_line(event_line) for event_line in event_lines),
            *(part for line in lines for part in frame.line(line)),
        ]
    )
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" '
        f'aria-labelledby="{name}-title {name}-description">\n'
        f'<title id="{name}-title">{escape(title)}</title>\n'
        f'<desc id="{name}-description">{escape(description)}</desc>\n'
        f'<clipPath id="{name}-clip"><rect x="{LEFT}" y="{TOP - 4}" '
        f'width="{width - LEFT - RIGHT + 6}" height="{height - TOP - BOTTOM + 8}"/></clipPath>\n'
        f'<g class="chart">\n{body.replace("CLIP", f"{name}-clip")}\n</g>\n</svg>'
    )


@dataclass(frozen=True, slots=True)
class _Frame:
    left: float
    right: float
    low: float
    high: float
    width: int
    height: int

    @classmethod
    def around(
        cls, points: Sequence[Point], size: tuple[int, int], y_range: tuple[float, float] | None
    ) -> "_Frame":
        xs = [x for x, _ in points]
        low, high = y_range or (min(y for _, y in points), max(y for _, y in points))
        margin = (high - low) * 0.04 or abs(low) * 0.5 or 1.0
        left, right = min(0.0, *xs, 0.0), max(xs)
        return cls(left, max(right, left + 1.0), low - margin, high + margin, *size)

    def x(self, value: float) -> float:
        share = (value - self.left) / (self.right - self.left)
        return round(LEFT + share * (self.width - LEFT - RIGHT), 1)

    def y(self, value: float) -> float:
        share = (self.high - value) / (self.high - self.low)
        return round(TOP + share * (self.height - TOP - BOTTOM), 1)

    def grid(self, x_name: str, y_name: str) -> Iterator[str]:
        base = self.height - BOTTOM
        for value, label in ticks(self.low, self.high, (base - TOP) // PIXELS_PER_TICK_DOWN):
            y = self.y(value)
            yield f'<path class="rule" d="M{LEFT} {y}H{self.width - RIGHT}"/>'
            yield _number(LEFT - 8, y + 4, "end", label)
        across = (self.width - LEFT - RIGHT) // PIXELS_PER_TICK_ACROSS
        for value, label in ticks(self.left, self.right, across):
            x = self.x(value)
            anchor = "end" if x > self.width - RIGHT - 20 else "middle"
            yield f'<path class="tick" d="M{x} {base}v4"/>'
            yield _number(x, base + 17, anchor, label)
        yield f'<path class="axis" d="M{LEFT} {base}H{self.width - RIGHT}"/>'
        yield (
            f'<text class="name" x="{self.width - RIGHT}" y="{base + 33}" text-anchor="end">'
            f"{escape(x_name)}</text>"
        )
        yield f'<text class="name" x="0" y="12">{escape(y_name)}</text>'

    def line(self, line: Line) -> Iterator[str]:
        if not line.points:
            return
        path = " ".join(f"{self.x(x)},{self.y(y)}" for x, y in line.points)
        yield f'<polyline class="{line.css_class}" clip-path="url(#CLIP)" points="{path}"/>'
        for (x, y), label in zip(line.points, line.labels, strict=False):
            yield (
                f'<circle class="{line.css_class}" clip-path="url(#CLIP)" '
                f'cx="{self.x(x)}" cy="{self.y(y)}" r="3"><title>{escape(label)}</title></circle>'
            )

    def event_line(self, event_line: EventLine) -> str:
        x = self.x(event_line.x)
        return (
            f'<path class="event" d="M{x} {TOP}V{self.height - BOTTOM}">'
            f"<title>{escape(event_line.label)}</title></path>"
        )


def _number(x: float, y: float, anchor: str, label: str) -> str:
    return f'<text class="number" x="{x}" y="{y:g}" text-anchor="{anchor}">{label}</text>'
