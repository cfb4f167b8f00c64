"""Divergence: which series of losses count as an explosion."""

import math
from collections.abc import Iterable

import pytest

from tests.unit.ml.conftest import small_config
from worker.ml.training.divergence import EXPLOSION, LEAST_NATS, Diverged, DivergenceMonitor

TOKENS = 30
#: A uniform guess is the worst loss before anything is learned.
GUESS = math.log(TOKENS)
SETTLED = [1.3] * 200


def make_monitor(**changes: object) -> DivergenceMonitor:
    return DivergenceMonitor(small_config("default", TOKENS, **changes))


def exploded_at(losses: Iterable[float], monitor: DivergenceMonitor | None = None) -> int | None:
    """The step at which a series counts as exploded; None if it does not."""
    monitor = monitor or make_monitor()
    for step, loss in enumerate(losses):
        try:
            monitor.add(step, loss)
        except Diverged as error:
            return error.step
    return None


def test_an_explosion_is_detected_within_some_steps_and_one_hard_batch_is_not_one() -> None:
    assert exploded_at([*SETTLED, 14.5, *SETTLED]) is None
    at = exploded_at([*SETTLED, *[14.5] * 30])
    assert at is not None
    assert len(SETTLED) < at < len(SETTLED) + 10


@pytest.mark.parametrize(
    ("settled", "least"), [(1.3, 1.3), (0.4, 0.4), (0.001, LEAST_NATS)], ids=str
)
def test_the_limit_is_three_times_the_least_mean(settled: float, least: float) -> None:
    before = [settled] * 200
    assert exploded_at([*before, *[0.99 * EXPLOSION * least] * 1000]) is None
    assert exploded_at([*before, *[1.01 * EXPLOSION * least] * 1000]) is not None


def test_the_minimum_covers_the_whole_training() -> None:
    slowly = [1.0 + step / 1000 for step in range(3000)]
    at = exploded_at([*SETTLED, *[1.0] * 200, *slowly])
    assert at is not None
    assert slowly[at - 400] == pytest.approx(EXPLOSION, rel=0.02)


def test_before_anything_is_learned_the_limit_is_relative_to_a_guess() -> None:
    assert exploded_at([0.99 * EXPLOSION * GUESS] * 100) is None
    assert exploded_at([1.01 * EXPLOSION * GUESS]) == 0
    # An easy first batch does not set the minimum yet.
    assert exploded_at([0.2, *[GUESS] * 100]) is None


@pytest.mark.parametrize("rollbacks", [0, 3])
@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_is_always_an_explosion(loss: float, rollbacks: int) -> None:
    monitor = make_monitor(rollbacks=rollbacks)
    assert exploded_at([*SETTLED, loss], monitor) == len(SETTLED)


def test_without_rollbacks_a_finite_loss_never_counts_as_exploded() -> None:
    assert exploded_at([*SETTLED, *[1e30] * 30], make_monitor(rollbacks=0)) is None


@pytest.mark.parametrize("stop", [1, 205, 207])
def test_a_resumed_monitor_decides_the_same(stop: int) -> None:
    losses = [*SETTLED, *[8.0] * 30]
    whole = exploded_at(losses)
    assert whole is not None
    assert whole > stop
    first = make_monitor()
    assert exploded_at(losses[:stop], first) is None
    config = small_config("default", TOKENS)
    at = exploded_at(losses[stop:], DivergenceMonitor(config, first.as_dict()))
    assert at == whole - stop
