"""The small parts of a report's page: tables, numbers and times."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from quire.client.replies import Metric


def table(
    caption: str,
    head: Sequence[str],
    rows: Iterable[Sequence[str]],
    marked: Iterable[int] = (),
) -> str:
    """A table of HTML; a column whose name ends with ``>`` is right-aligned.

    Cells are HTML already. `marked` are the numbers of the rows that stand out.
    """
    sides = [' class="right"' if name.endswith(">") else "" for name in head]
    cells = "".join(
        f'<th scope="col"{side}>{name.removesuffix(">")}</th>'
        for name, side in zip(head, sides, strict=True)
    )
    titles = f"<thead><tr>{cells}</tr></thead>\n" if any(head) else ""
    marks = frozenset(marked)
    lines = []
    for number, row in enumerate(rows):
        first = f'<th scope="row"{sides[0]}>{row[0]}</th>'
        rest = "".join(
            f"<td{side}>{cell}</td>" for cell, side in zip(row[1:], sides[1:], strict=True)
        )
        best = ' class="best"' if number in marks else ""
        lines.append(f"<tr{best}>{first}{rest}</tr>")
    told_caption = f'<caption class="soft">{caption}</caption>\n' if caption else ""
    return (
        f'<div class="scroll"><table>\n{told_caption}{titles}<tbody>\n'
        + "\n".join(lines)
        + "\n</tbody>\n</table></div>"
    )


def epoch(point: Metric) -> str:
    """``4``, ``4.5``."""
    return f"{point.epoch:.4g}"


def bits(per_character: float | None) -> str:
    """Bits per character, which compare across tokenizers."""
    return "" if per_character is None else f"{per_character:.3f}"


def when(moment: datetime | None) -> str:
    """A moment in UTC, to the second."""
    # Not the reader's own zone: the page is the same for everybody.
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S") if moment else ""


def plain(value: object) -> str:
    """A value of a request as people read it; not yet escaped."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "none"
    if isinstance(value, dict):
        return "; ".join(f"{name.replace('_', ' ')} {plain(each)}" for name, each in value.items())
    if isinstance(value, list):
        return ", ".join(plain(each) for each in value)
    return f"{value:,}" if isinstance(value, int) and value < 1_000_000 else str(value)
