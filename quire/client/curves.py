"""Select points of a training's loss curves: current ones, by kind, the best, their range."""

import math
from collections.abc import Iterable, Sequence

from quire.client.replies import Event, Metric

#: The first losses are far above all others and would flatten the chart, so the losses of this
#: share of the steps may lie above it. A loss that explodes later is still shown.
WARM_UP_SHARE = 0.02
#: The event types that rewind a training, and the field that names the step.
REWINDS = {"resumed": "step", "rolled_back": "back_to"}


def rewind_step(event: Event) -> int | None:
    """Return the step that the training went back to at this event, or None.

    After a rollback only the weights are those of that step; the steps are counted on.
    """
    step = event.data.get(REWINDS.get(event.type, ""))
    return step if isinstance(step, int) else None


def current_points(points: Iterable[Metric], events: Iterable[Event]) -> list[Metric]:
    """Return the points that no later rewind has made obsolete, by step.

    A training goes back to an earlier step when its worker died or its loss exploded.
    """
    rewinds = [(step, event.at) for event in events if (step := rewind_step(event)) is not None]
    current = [
        point
        for point in points
        if not any(point.step > step and point.at < at for step, at in rewinds)
    ]
    return sorted(current, key=lambda point: point.step)


def training(points: Sequence[Metric]) -> list[Metric]:
    """Return the points of the training curve.

    The loss of a point with a validation loss is the mean over its epoch, which lags behind by
    half an epoch. It counts only if there is no other point since the previous validation.
    """
    curve: list[Metric] = []
    follows_validation = True
    for point in points:
        if point.loss is not None and (point.val_loss is None or follows_validation):
            curve.append(point)
        follows_validation = point.val_loss is not None
    return curve


def validation(points: Sequence[Metric]) -> list[Metric]:
    """Return the points of the validation curve."""
    return [point for point in points if point.val_loss is not None]


def best(points: Sequence[Metric]) -> Metric | None:
    """Return the point with the lowest validation loss; the first one of several."""
    return min(validation(points), key=lambda point: point.val_loss or math.inf, default=None)


def loss_range(points: Sequence[Metric]) -> tuple[float, float] | None:
    """Return the range of losses that a chart should show; None if there are no losses."""
    losses = [(point.step, loss) for point in points for loss in _losses(point)]
    if not losses:
        return None
    warm_up = losses[0][0] + WARM_UP_SHARE * (losses[-1][0] - losses[0][0])
    settled = [loss for step, loss in losses if step > warm_up] or [loss for _, loss in losses]
    return min(loss for _, loss in losses), max(settled)


def _losses(point: Metric) -> list[float]:
    return [loss for loss in (point.loss, point.val_loss) if loss is not None]
