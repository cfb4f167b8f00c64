"""Draw a line chart as lines of text.

The lines are drawn in braille, with 2 × 4 dots per character: 60 columns show 120 points.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.text import Text

BLANK = 0x2800
#: The bit of each dot in a braille character, by row and column.
DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
DOTS_ACROSS, DOTS_DOWN = 2, 4
MARK = "●"
#: Marks that are closer together would hide the line.
COLUMNS_PER_MARK = 3
#: The minimum spacing of ticks.
ROWS_PER_TICK, COLUMNS_PER_TICK = 2, 10
#: The legend, the x axis and its labels.
EXTRA_ROWS = 3
MIN_COLUMNS, MIN_ROWS = 24, EXTRA_ROWS + 3
FRAME = "dim"

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a chart.

    Attributes:
        name: The name in the legend.
        style: The colour, as rich names it.
        points: Pairs (x, y) with ascending x.
        marked: Whether to mark each point if there is room.
    """

    name: str
    style: str
    points: Sequence[Point]
    marked: bool = False


def draw(
    series: Sequence[Series],
    *,
    columns: int,
    rows: int,
    x_name: str = "",
    y_range: tuple[float, float] | None = None,
) -> list[Text]:
    """Draw series, the later ones over the earlier ones.

    Args:
        series: The series, with at least one point in total.
        columns: The width of the chart; at least `MIN_COLUMNS` are used.
        rows: The height of the chart; at least `MIN_ROWS` are used.
        x_name: The name of the x axis.
        y_range: The lowest and highest y to show; by default all are shown.

    Returns:
        `rows` lines, none longer than `columns`.
    """
    points = [point for line in series for point in line.points]
    xs = [x for x, _ in points]
    low, high = y_range or (min(y for _, y in points), max(y for _, y in points))
    low, high = _widened(low, high)
    height = max(rows, MIN_ROWS) - EXTRA_ROWS
    y_ticks = ticks(low, high, max(2, height // ROWS_PER_TICK))
    gutter = max(len(label) for _, label in y_ticks)
    width = max(columns, MIN_COLUMNS) - gutter - 2
    plot = _Plot(width, height, _widened(min(xs), max(xs), relative=False), (low, high))
    for line in series:
        plot.draw_line(line)
    labels = {plot.row(y): label for y, label in y_ticks}
    lines = [_legend(series, gutter + 2)]
    for number, row in enumerate(plot.rows(set(labels))):
        label = labels.get(number, "")
        edge = "┤" if label else "│"
        lines.append(Text.assemble((f"{label:>{gutter}} {edge}", FRAME), row))
    return [*lines, *plot.x_axis(gutter + 1, x_name)]


def ticks(low: float, high: float, most: int) -> list[tuple[float, str]]:
    """Return round numbers in a range with their labels: at most `most`, and at least one."""
    raw = (high - low) / max(1, most)
    power = 10.0 ** math.floor(math.log10(raw))
    for factor in (1, 2, 5, 10, 20):
        step = factor * power
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first + 1 <= most:
            break
    if last < first:
        return [(low, f"{low:.4g}")]
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return [(n * step, f"{n * step:,.{decimals}f}") for n in range(first, last + 1)]


def _widened(low: float, high: float, *, relative: bool = True) -> tuple[float, float]:
    """Widen an empty range."""
    if high > low:
        return low, high
    margin = abs(low) * 0.05 if relative and low else 1.0
    return low - (margin if relative else 0.0), low + margin


def _legend(series: Sequence[Series], indent: int) -> Text:
    line = Text(" " * indent)
    for item in series:
        if item.points:
            sign = f"─{MARK}─" if item.marked else "───"
            line.append(sign, item.style).append(f" {item.name}   ")
    line.rstrip()
    return line


class _Plot:
    """The area between the axes, of `width` × `height` characters."""

    def __init__(
        self, width: int, height: int, x_range: tuple[float, float], y_range: tuple[float, float]
    ) -> None:
        self._width, self._height = width, height
        self._x_range, self._y_range = x_range, y_range
        self._dots = [[0] * width for _ in range(height)]
        self._styles = [[""] * width for _ in range(height)]
        self._marks: set[tuple[int, int]] = set()

    def draw_line(self, series: Series) -> None:
        """Draw a line through the points of a series."""
        positions = [self._position(point) for point in series.points]
        for position, following in zip(positions, positions[1:] or positions, strict=False):
            for x, y in _between(position, following, DOTS_DOWN * self._height):
                self._dot(x, y, series.style)
        if series.marked and len(positions) * COLUMNS_PER_MARK <= self._width:
            for position in positions:
                self._mark(round(position[0]), round(position[1]), series.style)

    def row(self, y: float) -> int:
        """Return the row of characters that contains a y."""
        return round(self._position((self._x_range[0], y))[1]) // DOTS_DOWN

    def rows(self, ruled: set[int]) -> Iterator[Text]:
        """Yield the rows of the area; those in `ruled` have a faint rule behind the lines."""
        for number in range(self._height):
            text = Text()
            for column in range(self._width):
                dots, style = self._dots[number][column], self._styles[number][column]
                if (number, column) in self._marks:
                    text.append(MARK, style)
                elif dots:
                    text.append(chr(BLANK + dots), style)
                else:
                    text.append("┈" if number in ruled else " ", FRAME)
            yield text

    def x_axis(self, indent: int, name: str) -> tuple[Text, Text]:
        """Return the axis and its labels, indented by `indent` columns."""
        room = self._width - len(name) - 1
        axis, numbers, free = ["─"] * self._width, [" "] * (self._width + 1), 0
        for tick, label in ticks(*self._x_range, max(1, self._width // COLUMNS_PER_TICK)):
            column = round(self._position((tick, self._y_range[0]))[0]) // DOTS_ACROSS
            start = min(max(0, column + 1 - len(label) // 2), self._width + 1 - len(label))
            if start < free or start + len(label) > room:
                continue
            axis[column] = "┬"
            numbers[start : start + len(label)] = label
            free = start + len(label) + 1
        if name:
            numbers[-len(name) :] = name
        return (
            Text(" " * indent + "└" + "".join(axis), FRAME),
            Text((" " * indent + "".join(numbers)).rstrip(), FRAME),
        )

    def _position(self, point: Point) -> Point:
        """Return the position of a point, in dots from the top left."""
        (left, right), (low, high) = self._x_range, self._y_range
        x = (point[0] - left) / (right - left) * (DOTS_ACROSS * self._width - 1)
        y = (high - point[1]) / (high - low) * (DOTS_DOWN * self._height - 1)
        return x, y

    def _dot(self, x: int, y: int, style: str) -> None:
        row, column = y // DOTS_DOWN, x // DOTS_ACROSS
        if 0 <= row < self._height and 0 <= column < self._width:
            self._dots[row][column] |= DOTS[y % DOTS_DOWN][x % DOTS_ACROSS]
            self._styles[row][column] = style

    def _mark(self, x: int, y: int, style: str) -> None:
        row, column = y // DOTS_DOWN, x // DOTS_ACROSS
        if 0 <= row < self._height and 0 <= column < self._width:
            self._marks.add((row, column))
            self._styles[row][column] = style


def _between(start: Point, end: Point, height: int) -> Iterator[tuple[int, int]]:
    """Yield the dots of a line, without those far outside the area."""
    (x0, y0), (x1, y1) = start, end
    y0, y1 = (min(max(y, -DOTS_DOWN), height + DOTS_DOWN) for y in (y0, y1))
    count = max(1, math.ceil(max(abs(x1 - x0), abs(y1 - y0))))
    for number in range(count + 1):
        share = number / count
        yield round(x0 + share * (x1 - x0)), round(y0 + share * (y1 - y0))
