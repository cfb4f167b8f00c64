"""When a loss counts as exploded: on numbers that any training could show."""

import math
from collections.abc import Iterable

import pytest

from tests.unit.ml.conftest import small_config
from worker.ml.training.divergence import EXPLOSION, LEAST_NATS, Diverged, DivergenceMonitor

TOKENS = 30
#: To guess is as bad as it gets before anything is learnt.
GUESS = math.log(TOKENS)
SETTLED = [1.3] * 200


def watch(**changes: object) -> DivergenceMonitor:
    return DivergenceMonitor(small_config("default", TOKENS, **changes))


def exploded_at(losses: Iterable[float], watched: DivergenceMonitor | None = None) -> int | None:
    """The step at which a series counts as exploded; None where it does not."""
    watched = watched or watch()
    for step, loss in enumerate(losses):
        try:
            watched.add(step, loss)
        except Diverged as error:
            return error.step
    return None


def test_an_explosion_is_seen_within_some_steps_and_one_hard_batch_is_none() -> None:
    assert exploded_at([*SETTLED, 14.5, *SETTLED]) is None
    at = exploded_at([*SETTLED, *[14.5] * 30])
    assert at is not None
    assert len(SETTLED) < at < len(SETTLED) + 10


@pytest.mark.parametrize(
    ("settled", "least"), [(1.3, 1.3), (0.4, 0.4), (0.001, LEAST_NATS)], ids=str
)
def test_three_times_the_least_mean_is_the_bound(settled: float, least: float) -> None:
    before = [settled] * 200
    assert exploded_at([*before, *[0.99 * EXPLOSION * least] * 1000]) is None
    assert exploded_at([*before, *[1.01 * EXPLOSION * least] * 1000]) is not None


def test_the_minimum_is_that_of_the_whole_way() -> None:
    slowly = [1.0 + step / 1000 for step in range(3000)]
    at = exploded_at([*SETTLED, *[1.0] * 200, *slowly])
    assert at is not None
    assert slowly[at - 400] == pytest.approx(EXPLOSION, rel=0.02)


def test_before_anything_is_learnt_a_guess_is_the_measure() -> None:
    assert exploded_at([0.99 * EXPLOSION * GUESS] * 100) is None
    assert exploded_at([1.01 * EXPLOSION * GUESS]) == 0
    # A first batch that happens to be easy is no minimum yet.
    assert exploded_at([0.2, *[GUESS] * 100]) is None


@pytest.mark.parametrize("rollbacks", [0, 3])
@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_what_is_no_number_is_always_an_explosion(loss: float, rollbacks: int) -> None:
    watched = watch(rollbacks=rollbacks)
    assert exploded_at([*SETTLED, loss], watched) == len(SETTLED)


def test_without_rollbacks_a_finite_loss_may_explode() -> None:
    assert exploded_at([*SETTLED, *[1e30] * 30], watch(rollbacks=0)) is None


@pytest.mark.parametrize("stop", [1, 205, 207])
def test_it_decides_the_same_after_a_resume(stop: int) -> None:
    losses = [*SETTLED, *[8.0] * 30]
    whole = exploded_at(losses)
    assert whole is not None
    assert whole > stop
    first = watch()
    assert exploded_at(losses[:stop], first) is None
    config = small_config("default", TOKENS)
    at = exploded_at(losses[stop:], DivergenceMonitor(config, first.as_dict()))
    assert at == whole - stop
