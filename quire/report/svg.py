"""A line chart as SVG, to stand inside a page that gives it its colours."""

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
        css_class: Decides its colour.
        points: (x, y), with x ascending.
        told: What each point says when it is pointed at; only such points have a mark.
    """

    css_class: str
    points: Sequence[Point]
    told: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Moment:
    """A vertical line at an x, and what it says."""

    x: float
    told: str


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
    moments: Sequence[Moment] = (),
) -> str:
    """A chart as one `svg` element, as wide as what it stands in.

    Args:
        name: Unique on the page.
        title: For those who can't see it, and when it is pointed at.
        description: What it shows, in a sentence.
        lines: At least one point among them all.
        size: Width and height, in units of which 12 make a line of text.
        x_name: What x counts.
        y_name: What y counts.
        y_range: The least and greatest y to show; all of them by default.
        moments: What happened, and at which x.
    """
    points = [point for line in lines for point in line.points]
    frame = _Frame.around(points, size, y_range)
    width, height = size
    body = "\n".join(
        [
            *frame.grid(x_name, y_name),
            *(frame.moment(moment) for moment in moments),
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
        for (x, y), told in zip(line.points, line.told, strict=False):
            yield (
                f'<circle class="{line.css_class}" clip-path="url(#CLIP)" '
                f'cx="{self.x(x)}" cy="{self.y(y)}" r="3"><title>{escape(told)}</title></circle>'
            )

    def moment(self, moment: Moment) -> str:
        x = self.x(moment.x)
        return (
            f'<path class="moment" d="M{x} {TOP}V{self.height - BOTTOM}">'
            f"<title>{escape(moment.told)}</title></path>"
        )


def _number(x: float, y: float, anchor: str, label: str) -> str:
    return f'<text class="number" x="{x}" y="{y:g}" text-anchor="{anchor}">{label}</text>'
