"""The table of a report that shows how each held-out piece of the text was predicted."""

import statistics

from quire.client.replies import Metric
from quire.report.contents import ReportContents
from quire.report.elements import epoch, table
from quire.terminal import formatting

#: A piece is highlighted if its loss differs from the median by this factor or more.
ODD = 1.25


def render_pieces(contents: ReportContents) -> str:
    """Render the losses of the pieces; nothing if the text has only one.

    One piece that is unlike the rest of the text is seen here, beside the loss that it is part of.
    """
    best, pieces = contents.best, contents.pieces
    if best is None or best.piece_losses is None or len(best.piece_losses) != len(pieces):
        return ""
    if len(pieces) < 2:
        return ""
    losses = best.piece_losses
    middle = statistics.median([loss for loss in losses if loss is not None])
    rows, odd = [], set()
    for number, ((first, end), loss) in enumerate(zip(pieces, losses, strict=True)):
        if loss is not None and not middle / ODD < loss < middle * ODD:
            odd.add(number)
        least = _least(contents.validations, number)
        rows.append(
            (
                f"{number + 1}",
                f"{first / contents.tokens:.0%}",
                f"{first:,} – {end - 1:,}",
                "no window" if loss is None else formatting.loss(loss),
                "" if least is None else formatting.loss(least[0]),
                "" if least is None else epoch(least[1].epoch),
            )
        )
    head = ("piece", "place>", f"{contents.token}s>", "validation loss>", "least>", "at epoch>")
    found = f"{len(odd)} of them are" if len(odd) > 1 else "one of them is"
    note = f"; {found} unlike the others, and highlighted" if odd else ""
    caption = (
        f"The held-out pieces of the text, and the loss of each at the best validation, of epoch "
        f"{epoch(best.epoch)}{note}"
    )
    return (
        "<details open>\n<summary>The pieces that judge it</summary>\n"
        f"{table(caption, head, rows, odd)}\n</details>"
    )


def _least(validations: list[Metric], number: int) -> tuple[float, Metric] | None:
    """The least loss of a piece, and the validation that measured it."""
    losses = [
        (loss, point)
        for point in validations
        if point.piece_losses and (loss := point.piece_losses[number]) is not None
    ]
    return min(losses, key=lambda found: found[0], default=None)
