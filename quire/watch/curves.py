"""What the points of a training say: which stand, which are training's, which is best."""

import math
from collections.abc import Iterable, Sequence

from quire.client.replies import Event, Metric

#: The first loss is far above all others, and would press them flat: so much of the steps may
#: lie above the picture. An explosion comes later, and is seen.
WARM_UP_SHARE = 0.02
#: Where an event tells which step the training went on from.
RETURNS = {"resumed": "step", "rolled_back": "back_to"}


def returned_to(event: Event) -> int | None:
    """The step that a training went on from at this event, or None.

    After a rollback the count of steps goes on, and the weights are those of the step before.
    """
    step = event.data.get(RETURNS.get(event.type, ""))
    return step if isinstance(step, int) else None


def standing(points: Iterable[Metric], events: Iterable[Event]) -> list[Metric]:
    """The points that belong to the training as it is, in the order of their steps.

    One that was passed before the training went back behind it (after its worker had died, or
    its loss had exploded) is of a way that was left.
    """
    returns = [(step, event.at) for event in events if (step := returned_to(event)) is not None]
    kept = [
        point
        for point in points
        if not any(point.step > step and point.at < at for step, at in returns)
    ]
    return sorted(kept, key=lambda point: point.step)


def training(points: Sequence[Metric]) -> list[Metric]:
    """The points of the training curve.

    A judged point's loss is the mean of a whole epoch, which lies behind by half of it: it
    counts only where no other point has been since the judged one before.
    """
    curve: list[Metric] = []
    alone = True
    for point in points:
        if point.loss is not None and (point.val_loss is None or alone):
            curve.append(point)
        alone = point.val_loss is not None
    return curve


def validation(points: Sequence[Metric]) -> list[Metric]:
    """The points of the validation curve."""
    return [point for point in points if point.val_loss is not None]


def best(points: Sequence[Metric]) -> Metric | None:
    """The judged point with the least validation loss; the first of several."""
    return min(validation(points), key=lambda point: point.val_loss or math.inf, default=None)


def loss_range(points: Sequence[Metric]) -> tuple[float, float] | None:
    """The losses that a picture should show; None where there are none."""
    losses = [(point.step, loss) for point in points for loss in _losses(point)]
    if not losses:
        return None
    warm_up = losses[0][0] + WARM_UP_SHARE * (losses[-1][0] - losses[0][0])
    settled = [loss for step, loss in losses if step > warm_up] or [loss for _, loss in losses]
    return min(loss for _, loss in losses), max(settled)


def _losses(point: Metric) -> list[float]:
    return [loss for loss in (point.loss, point.val_loss) if loss is not None]
