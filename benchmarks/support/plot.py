"""A chart of the rows: each ratio relative to its target, on a logarithmic scale."""

import math
from collections.abc import Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape

LABELS, WIDTH, FIGURES = 260, 420, 130
LINE, BAR, TOP = 20, 12, 44
#: Ratios beyond this multiple of their targets, or below its inverse, end at the edge.
MAX_MULTIPLE = 10.0
MET, MISSED, GRID, INK = "#2b7a4b", "#b3412e", "#d0d0d0", "#222222"


def picture(rows: Sequence[Mapping[str, Any]], machine: str) -> str:
    """Draw an SVG with one line per row; a bar to the right of the middle meets its target."""
    height = TOP + LINE * len(rows) + 24
    middle = LABELS + WIDTH / 2
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{LABELS + WIDTH + FIGURES}" '
        f'height="{height}" font-family="sans-serif" font-size="12" fill="{INK}">',
        f"<title>{escape(machine)}</title>",
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for share in (1 / MAX_MULTIPLE, 0.5, 1.0, 2.0, MAX_MULTIPLE):
        x = middle + _length(share)
        parts.append(
            f'<line x1="{x:.0f}" x2="{x:.0f}" y1="{TOP - 8}" y2="{height - 20}" stroke="{GRID}"/>'
            f'<text x="{x:.0f}" y="{TOP - 14}" text-anchor="middle">{share:g} ×</text>'
        )
    parts.append(f'<text x="{middle:.0f}" y="14" text-anchor="middle">ratio ÷ target</text>')
    for number, row in enumerate(rows):
        y = TOP + LINE * number
        length = _length(row["ratio"] / row["target"])
        colour = MET if row["met"] else MISSED
        parts.append(
            f'<text x="{LABELS - 10}" y="{y + BAR}" text-anchor="end">{escape(row["name"])}</text>'
            f'<rect x="{middle + min(length, 0):.1f}" y="{y + 2}" width="{abs(length):.1f}" '
            f'height="{BAR}" fill="{colour}"/>'
            f'<text x="{LABELS + WIDTH + 10}" y="{y + BAR}">{row["ratio"]:.4g} of '
            f"{row['target']:g}</text>"
        )
    return "\n".join([*parts, "</svg>", ""])


def _length(share: float) -> float:
    bounded = min(max(share, 1 / MAX_MULTIPLE), MAX_MULTIPLE)
    return WIDTH / 2 * math.log(bounded) / math.log(MAX_MULTIPLE)
