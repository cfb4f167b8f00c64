"""Dropout masks: the right share, reproducible, and none without dropout."""

import numpy as np
import pytest

from shared.specs.presets import resolve_train
from tests.unit.ml.conftest import small_config
from worker.ml.config import TrainConfig
from worker.ml.training.dropout import step_masks


def test_there_are_no_masks_without_dropout() -> None:
    assert step_masks(small_config("classic", 20), range(3)) is None


def test_the_share_is_right_and_the_mean_is_kept() -> None:
    config = small_config("default", 20, units=64, layers=2, dropout=0.25)
    masks = step_masks(config, range(40))
    assert masks is not None
    assert masks.shape == (40, 2, 8, 64)
    assert set(np.unique(masks)) == {np.float32(0), np.float32(1 / 0.75)}
    assert (masks == 0).mean() == pytest.approx(0.25, abs=0.01)
    assert masks.mean() == pytest.approx(1, abs=0.01)


def test_a_mask_depends_only_on_seed_and_step() -> None:
    config = small_config("default", 20, dropout=0.5)
    whole, rest = step_masks(config, range(6)), step_masks(config, range(4, 6))
    other = step_masks(small_config("default", 20, dropout=0.5, seed=8), range(6))
    assert whole is not None
    assert rest is not None
    np.testing.assert_array_equal(whole[4:], rest)
    assert not np.array_equal(whole[0], whole[1])
    assert not np.array_equal(whole, other)


def test_a_job_queued_before_dropout_existed_trains_without_it() -> None:
    spec = resolve_train("default", {}, seed=1, threads=2, shards=2).model_dump()
    assert TrainConfig.from_spec(spec, 30).dropout == spec["dropout"] > 0
    del spec["dropout"]
    assert TrainConfig.from_spec(spec, 30).dropout == 0
