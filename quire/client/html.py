"""What a notebook shows: HTML without scripts, whose styles are attributes.

A notebook shows many of them on one page, so no style sheet and no id may leak out of one.
"""

from collections.abc import Sequence
from html import escape

Point = tuple[float, float]

WIDTH, HEIGHT = 460, 180
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 12, 26
COLOURS = ("#8a93a6", "#2563eb")
#: Less than this is an accident of any language.
MIN_COPIED_CHARACTERS = 8


def text(prompt: str, continuation: str, copied: Sequence[tuple[int, int]], caption: str) -> str:
    """Render a text: its prompt grey, and what it copies underlined.

    Args:
        prompt: Its beginning.
        continuation: What the model wrote.
        copied: Where the continuation copies its corpus, as first and last + 1 character.
        caption: One line about it.
    """
    parts, at = [], 0
    for first, end in sorted(copied):
        if end - first < MIN_COPIED_CHARACTERS or first < at:
            continue
        title = f"{end - first} characters that stand so in the corpus"
        parts.append(escape(continuation[at:first]))
        parts.append(f'<u title="{title}">{escape(continuation[first:end])}</u>')
        at = end
    parts.append(escape(continuation[at:]))
    body = f'<span style="opacity:.6">{escape(prompt)}</span>{"".join(parts)}'
    return (
        f'<div><div style="white-space:pre-wrap;max-width:46em">{body}</div>'
        f'<div style="font-size:85%;opacity:.7">{escape(caption)}</div></div>'
    )


def panel(title: str, status: str, lines: Sequence[str], share: float | None, chart: str) -> str:
    """Render what a job is: its name and status, a bar, lines of text, and a chart.

    Args:
        title: Its name.
        status: Its status.
        lines: What else is known.
        share: How much of it is done, from 0 to 1; None shows no bar.
        chart: A chart as SVG, or nothing.
    """
    bar = "" if share is None else f'<progress max="1" value="{share:.4f}"></progress> {share:.0%}'
    about = "".join(f'<div style="font-size:85%;opacity:.8">{escape(line)}</div>' for line in lines)
    return (
        f"<div><div><strong>{escape(title)}</strong> {escape(status)} {bar}</div>{about}{chart}"
        "</div>"
    )


def curves(
    named: Sequence[tuple[str, Sequence[Point]]], y_range: tuple[float, float], x_name: str
) -> str:
    """Render lines as one `svg` element, the axes labelled with their first and last values.

    Args:
        named: The name and the points of each line, with ascending x; some line has points.
        y_range: The least and greatest y to show; what lies beyond is cut.
        x_name: The name of the x axis.
    """
    xs = [x for _, points in named for x, _ in points]
    left, right = min(0.0, *xs), max(xs)
    low, high = y_range
    margin = (high - low) * 0.05 or abs(low) * 0.5 or 1.0
    low, high = low - margin, high + margin
    base = HEIGHT - BOTTOM

    def x_of(value: float) -> float:
        share = (value - left) / ((right - left) or 1.0)
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)

    def y_of(value: float) -> float:
        share = min(1.0, max(0.0, (high - value) / (high - low)))
        return round(TOP + share * (base - TOP), 1)

    def label(x: float, y: float, anchor: str, words: str, colour: str = "currentColor") -> str:
        return (
            f'<text x="{x}" y="{y}" text-anchor="{anchor}" fill="{colour}" '
            f'font-size="11">{escape(words)}</text>'
        )

    shapes = [
        f'<path d="M{LEFT} {TOP}V{base}H{WIDTH - RIGHT}" fill="none" stroke="currentColor" '
        'stroke-opacity=".4"/>',
        label(LEFT - 6, TOP + 8, "end", f"{high - margin:.3g}"),
        label(LEFT - 6, base, "end", f"{low + margin:.3g}"),
        label(LEFT, base + 16, "start", f"{left:,.0f}"),
        label(WIDTH - RIGHT, base + 16, "end", f"{x_name} {right:,.0f}"),
    ]
    for number, (name, points) in enumerate(named):
        colour = COLOURS[number % len(COLOURS)]
        if len(points) == 1:
            x, y = points[0]
            shapes.append(f'<circle cx="{x_of(x)}" cy="{y_of(y)}" r="2.5" fill="{colour}"/>')
        elif points:
            path = " ".join(f"{x_of(x)},{y_of(y)}" for x, y in points)
            shapes.append(
                f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
            )
        if points:
            shapes.append(label(WIDTH - RIGHT, TOP + 10 + 14 * number, "end", name, colour))
    names = " and ".join(name for name, points in named if points)
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img" '
        f'aria-label="{escape(f"{names} over {right:,.0f} {x_name}s")}" '
        f'style="max-width:100%;font-family:sans-serif">{"".join(shapes)}</svg>'
    )
