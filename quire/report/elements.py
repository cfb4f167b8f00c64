"""Building blocks of the report page: tables, and numbers and times for people."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime


def table(
    caption: str,
    head: Sequence[str],
    rows: Iterable[Sequence[str]],
    marked: Iterable[int] = (),
) -> str:
    """Render a table as HTML.

    Args:
        caption: The caption as HTML; may be empty.
        head: The names of the columns. A column whose name ends with ``>`` is right-aligned.
        rows: The cells of each row, as HTML.
        marked: The indices of the rows to highlight.
    """
    alignments = [' class="right"' if name.endswith(">") else "" for name in head]
    cells = "".join(
        f'<th scope="col"{alignment}>{name.removesuffix(">")}</th>'
        for name, alignment in zip(head, alignments, strict=True)
    )
    header = f"<thead><tr>{cells}</tr></thead>\n" if any(head) else ""
    highlighted = frozenset(marked)
    lines = []
    for number, row in enumerate(rows):
        first = f'<th scope="row"{alignments[0]}>{row[0]}</th>'
        rest = "".join(
            f"<td{alignment}>{cell}</td>"
            for cell, alignment in zip(row[1:], alignments[1:], strict=True)
        )
        css_class = ' class="best"' if number in highlighted else ""
        lines.append(f"<tr{css_class}>{first}{rest}</tr>")
    caption_element = f'<caption class="soft">{caption}</caption>\n' if caption else ""
    return (
        f'<div class="scroll"><table>\n{caption_element}{header}<tbody>\n'
        + "\n".join(lines)
        + "\n</tbody>\n</table></div>"
    )


def epoch(number: float | None) -> str:
    """Format an epoch with at most two decimals: ``4``, ``4.5``, ``0.49``."""
    return "" if number is None else f"{round(number, 2):,.10g}"


def bits(per_character: float | None) -> str:
    """Format bits per character, which are comparable between tokenizers."""
    return "" if per_character is None else f"{per_character:.3f}"


def when(moment: datetime | None) -> str:
    """Format a time in UTC, to the second."""
    # UTC, not the local time zone, so that the page is the same for everyone.
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S") if moment else ""


def plain(value: object) -> str:
    """Format a value of a request for people, rounded and not yet escaped."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "none"
    if isinstance(value, dict):
        return "; ".join(f"{name.replace('_', ' ')} {plain(item)}" for name, item in value.items())
    if isinstance(value, list):
        return ", ".join(plain(item) for item in value)
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    # A larger integer is a seed, which people copy.
    return f"{value:,}" if isinstance(value, int) and value < 1_000_000 else str(value)
