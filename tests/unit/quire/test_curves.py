"""The selection of points from loss curves, and the description of events."""

from datetime import UTC, datetime, timedelta

import pytest

from quire.client import curves
from quire.client.replies import Event, Metric
from quire.watch.history import describe_event

STARTED_AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
#: The data of a rollback event.
ROLLED_BACK: dict[str, object] = {
    "step": 320,
    "loss": 14.5,
    "back_to": 100,
    "learning_rate": 0.005,
    "rollbacks": 1,
}


def point(step: int, loss: float | None, val: float | None = None, at: int | None = None) -> Metric:
    moment = STARTED_AT + timedelta(seconds=step if at is None else at)
    return Metric(step=step, epoch=step / 100, loss=loss, val_loss=val, at=moment)


def event(kind: str, at: int = 0, attempt: int = 1, **data: object) -> Event:
    return Event(id=1, type=kind, attempt=attempt, data=data, at=STARTED_AT + timedelta(seconds=at))


def steps(points: list[Metric]) -> list[int]:
    return [point.step for point in points]


def test_the_mean_over_an_epoch_is_not_on_the_training_curve() -> None:
    points = [point(50, 2.0), point(100, 2.4, 1.9), point(150, 1.7), point(200, 1.8, 1.6)]
    assert steps(curves.training(points)) == [50, 150]
    assert steps(curves.validation(points)) == [100, 200]


def test_epochs_without_other_points_contribute_their_means() -> None:
    points = [point(100, 2.4, 1.9), point(200, 1.8, 1.6), point(250, 1.5), point(300, 1.6, 1.5)]
    assert steps(curves.training(points)) == [100, 200, 250]


def test_the_best_point_is_the_first_with_the_lowest_validation_loss() -> None:
    points = [point(100, 2.0, 1.9), point(200, 1.8, 1.5), point(300, 1.6, 1.5), point(350, 1.0)]
    assert curves.best(points) == points[1]
    assert curves.best([point(1, 1.0)]) is None


def test_points_before_a_rewind_are_obsolete() -> None:
    points = [
        point(100, 2.0, 1.9, at=10),
        point(200, 1.9, at=20),
        point(300, 14.5, at=30),
        point(150, 1.8, at=50),
        point(300, 1.2, 1.4, at=70),
    ]
    resumed = event("resumed", at=40, step=100, epoch=1.0)
    assert steps(curves.current_points(points, [resumed])) == [100, 150, 300]
    assert curves.current_points(points, [resumed])[-1].loss == 1.2
    checkpoint = event("checkpoint", at=40, step=100)
    unusable = event("checkpoint_unusable", at=40, step=100, reason="torn")
    assert len(curves.current_points(points, [checkpoint, unusable])) == len(points)


def test_steps_are_counted_on_after_a_rollback() -> None:
    points = [
        point(100, 2.0, 1.9, at=10),
        point(200, 1.9, at=20),
        point(300, 14.5, at=30),
        point(350, 2.0, at=50),
        point(400, 1.8, 1.7, at=60),
    ]
    rolled_back = event("rolled_back", at=40, **ROLLED_BACK)
    assert curves.rewind_step(rolled_back) == 100
    assert steps(curves.current_points(points, [rolled_back])) == [100, 350, 400]


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("began_from", {"checkpoint": "c", "step": 100, "goes_on": True}),
        ("stopped_early", {"step": 100, "best_step": 50, "patience": 5}),
        ("made_coffee", {"step": 100}),
    ],
)
def test_not_every_event_with_a_step_is_a_rewind(kind: str, data: dict[str, object]) -> None:
    points = [point(50, 2.0), point(150, 1.9)]
    assert curves.current_points(points, [event(kind, at=1000, **data)]) == points


def test_the_range_excludes_the_first_loss_and_includes_an_explosion() -> None:
    points = [point(1, 4.4), *(point(step, 2.0 - step / 1000) for step in range(30, 1000, 10))]
    assert curves.loss_range(points) == (1.01, 1.97)
    exploded = [*points, point(1000, 14.5, 3.0)]
    assert curves.loss_range(exploded) == (1.01, 14.5)
    assert curves.loss_range([point(7, 2.0)]) == (2.0, 2.0)
    assert curves.loss_range([point(7, None)]) is None


@pytest.mark.parametrize(
    ("described", "words"),
    [
        (event("submitted"), "submitted"),
        (event("claimed", worker="host/gpu:0/train"), "claimed by host/gpu:0/train"),
        (event("claimed", attempt=3, worker="h"), "claimed by h (attempt 3)"),
        (
            event("resumed", step=1200, epoch=4.49),
            "resumed from the checkpoint at step 1,200, epoch 4.5",
        ),
        (
            event("inexact", threads={"asked": 4, "got": 2}),
            "continues, but not bit for bit: threads 4 → 2",
        ),
        (
            event("inexact", keras={"was": "3.12", "is": "3.13"}),
            "continues, but not bit for bit: keras 3.12 → 3.13",
        ),
        (event("succeeded", seconds=75.2), "succeeded after 1 minute and 15 seconds"),
        (event("cancelled"), "cancelled"),
        (
            event("rolled_back", **ROLLED_BACK),
            "the loss exploded (14.5) at step 320: rolled back to the weights of "
            "step 100 and halved the learning rate to 0.005",
        ),
        (
            event("rolled_back", **ROLLED_BACK | {"loss": "nan"}),
            "the loss exploded (nan) at step 320: rolled back to the weights of "
            "step 100 and halved the learning rate to 0.005",
        ),
        (
            event("stopped_early", step=1200, best_step=900, patience=5),
            "stopped early at step 1,200: the validation loss has not improved since step 900 "
            "(patience 5)",
        ),
        (
            event("began_from", checkpoint="c0ffee", step=1200, goes_on=True),
            "continued from checkpoint c0ffee, at step 1,200",
        ),
        (
            event("began_from", checkpoint="c0ffee", step=0, goes_on=False),
            "started with the weights of checkpoint c0ffee; steps, schedule and optimizer were "
            "reset",
        ),
        (
            event("rolled_back", step=1200, learning_rate=0.005, again=True),
            "rolled back: step 1,200, learning rate 0.005, again yes",
        ),
        (event("made_coffee"), "made coffee"),
        (event("resumed", from_="elsewhere"), "resumed: from  elsewhere"),
        (event("inexact", threads=2), "inexact: threads 2"),
    ],
)
def test_events_are_described_in_words(described: Event, words: str) -> None:
    assert describe_event(described) == words
