"""The terminal chart, as a person sees it."""

import math

import pytest
from rich.text import Text

from quire.watch.chart import MARK, MIN_COLUMNS, MIN_ROWS, Series, draw, ticks

FALLING = [(float(x), 3.0 * math.exp(-x / 20) + 1.0) for x in range(101)]


def plain(lines: list[Text]) -> list[str]:
    return [line.plain for line in lines]


def dots(lines: list[str]) -> set[tuple[int, int]]:
    """The characters of the plot area that contain a line."""
    return {
        (row, column)
        for row, line in enumerate(lines)
        for column, character in enumerate(line)
        if 0x2800 < ord(character) < 0x2900
    }


@pytest.mark.parametrize(("columns", "rows"), [(80, 20), (24, 6), (200, 50), (37, 11)])
def test_the_chart_has_the_requested_size(columns: int, rows: int) -> None:
    lines = plain(draw([Series("loss", "cyan", FALLING)], columns=columns, rows=rows))
    assert len(lines) == rows
    assert max(map(len, lines)) <= columns
    assert max(column for _, column in dots(lines)) == columns - 1, "the line reaches the edge"


def test_a_chart_is_never_smaller_than_the_minimum() -> None:
    lines = plain(draw([Series("loss", "cyan", FALLING)], columns=1, rows=1))
    assert len(lines) == MIN_ROWS
    assert max(map(len, lines)) <= MIN_COLUMNS


def test_a_falling_line_falls_and_axes_have_labels() -> None:
    lines = plain(draw([Series("loss", "cyan", FALLING)], columns=60, rows=16, x_name="step"))
    first_row_of = {}
    for row, column in sorted(dots(lines)):
        first_row_of.setdefault(column, row)
    rows = [first_row_of[column] for column in sorted(first_row_of)]
    assert rows == sorted(rows)
    assert rows[0] < 3
    labels = [line.split("┤")[0].strip() for line in lines if "┤" in line]
    assert labels == ["4.0", "3.5", "3.0", "2.5", "2.0", "1.5"]
    # A label that would touch the name of the axis is left out.
    assert lines[-1].split() == ["0", "50", "step"]
    assert lines[-2].count("┬") == 2


def test_each_series_is_in_the_legend_in_its_colour() -> None:
    other = [(x, y + 0.5) for x, y in FALLING]
    lines = draw(
        [Series("training", "cyan", FALLING), Series("validation", "yellow", other, marked=False)],
        columns=60,
        rows=14,
    )
    assert "training" in lines[0].plain
    assert "validation" in lines[0].plain
    styles = {str(span.style) for line in lines[1:-2] for span in line.spans}
    assert {"cyan", "yellow"} <= styles


def test_marks_are_drawn_if_there_is_room() -> None:
    few = Series("validation", "yellow", FALLING[::20], marked=True)
    drawn = "".join(plain(draw([few], columns=60, rows=14))[1:])
    assert drawn.count(MARK) == len(FALLING[::20])
    many = Series("validation", "yellow", FALLING, marked=True)
    assert MARK not in "".join(plain(draw([many], columns=60, rows=14))[1:])


def test_points_outside_the_range_are_clipped() -> None:
    exploding = [*FALLING[:50], (50.0, 1e9), *FALLING[51:]]
    lines = plain(
        draw([Series("loss", "cyan", exploding)], columns=60, rows=16, y_range=(1.0, 4.0))
    )
    labels = [line.split("┤")[0].strip() for line in lines if "┤" in line]
    assert labels == ["4", "3", "2", "1"]
    assert len(dots(lines)) > 60


@pytest.mark.parametrize(
    "points", [[(0.0, 2.0)], [(1.0, 0.0)], [(1.0, -3.0), (1.0, -3.0)], [(0.0, 1e-9), (5e9, 1e-9)]]
)
def test_a_single_point_and_a_flat_line_are_drawn(points: list[tuple[float, float]]) -> None:
    lines = plain(draw([Series("loss", "cyan", points)], columns=40, rows=10))
    assert dots(lines)
    assert any("┤" in line for line in lines)


@pytest.mark.parametrize(
    ("low", "high", "most", "labels"),
    [
        (0.0, 10.0, 5, ["0", "5", "10"]),
        (1.2, 4.1, 6, ["1.5", "2.0", "2.5", "3.0", "3.5", "4.0"]),
        (0.0, 4158.0, 8, ["0", "1,000", "2,000", "3,000", "4,000"]),
        (0.0, 0.01, 4, ["0.000", "0.005", "0.010"]),
        (0.001, 0.0042, 8, ["0.0010", "0.0015", "0.0020", "0.0025", "0.0030", "0.0035", "0.0040"]),
        (-3.0, 3.0, 3, ["-2", "0", "2"]),
        (1.31, 1.39, 1, ["1.35"]),
        (1.31, 1.34, 1, ["1.31"]),
    ],
)
def test_ticks_are_round_numbers(low: float, high: float, most: int, labels: list[str]) -> None:
    found = ticks(low, high, most)
    assert [label for _, label in found] == labels
    assert all(low <= value <= high or math.isclose(value, high) for value, _ in found)
