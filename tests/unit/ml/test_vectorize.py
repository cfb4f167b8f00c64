"""Windows as index arithmetic, compared with simple loops."""

from dataclasses import replace

import numpy as np
import pytest

from tests.unit.ml.conftest import small_config
from worker.ml.config import padded_vocabulary
from worker.ml.vectorize import (
    NO_WINDOW,
    epoch_starts,
    steps_per_epoch,
    validation_starts,
    vectorize,
)
from worker.ml.vocabulary import Vocabulary


def script_windows(text: str, window: int, stride: int) -> list[tuple[str, str]]:
    """The loop of the classic script."""
    return [(text[i : i + window], text[i + window]) for i in range(0, len(text) - window, stride)]


@pytest.mark.parametrize("length", [13, 14, 15, 16, 100, 1001])
def test_an_epoch_holds_the_scripts_windows_shuffled(length: int, english: str) -> None:
    text = english[:length]
    vocabulary, ids = vectorize(text)
    config = small_config("classic", len(vocabulary))
    starts = epoch_starts(config, [(0, length)], epoch=0)
    assert starts.shape == (steps_per_epoch(config, [(0, length)]), 8)
    found = [
        (vocabulary.decode(ids[s : s + 12]), vocabulary.decode(ids[s + 12]))
        for s in starts.ravel()
        if s != NO_WINDOW
    ]
    expected = script_windows(text, 12, 3)
    assert sorted(found) == sorted(expected)
    assert length < 100 or found != expected
    [in_order] = validation_starts(config, [(0, length)])
    in_order = in_order.ravel()
    assert in_order[in_order >= 0].tolist() == list(range(0, length - 12, 3))


@pytest.mark.parametrize("length", [13, 24, 25, 26, 1000, 1009])
def test_side_by_side_windows_never_overlap_and_leave_less_than_a_window(length: int) -> None:
    config = small_config("default", 20)
    for epoch in range(20):
        starts = epoch_starts(config, [(0, length)], epoch).ravel()
        starts = np.sort(starts[starts >= 0])
        assert len(starts) == (length - 1) // 12
        assert np.all(np.diff(starts) == 12)
        assert starts[0] >= 0
        assert starts[-1] + 12 <= length - 1


def test_the_order_depends_on_seed_and_epoch() -> None:
    config = small_config("default", 20)
    first = epoch_starts(config, [(0, 5000)], 0)
    assert np.array_equal(first, epoch_starts(config, [(0, 5000)], 0))
    assert not np.array_equal(first, epoch_starts(config, [(0, 5000)], 1))
    assert not np.array_equal(first, epoch_starts(replace(config, seed=8), [(0, 5000)], 0))


def test_buckets_waste_little_and_are_their_own_buckets() -> None:
    for size in [*range(1, 3000), 4447, 10_000, 65_536]:
        bucket = padded_vocabulary(size)
        assert bucket >= size
        assert padded_vocabulary(bucket) == bucket
        assert bucket - size < 16 or bucket == 64 or bucket <= 1.13 * size


def test_a_whole_text_round_trips(english: str) -> None:
    vocabulary, ids = vectorize(english)
    assert ids.dtype == np.uint8
    assert vocabulary == Vocabulary("".join(sorted(set(english))))
    assert vocabulary.decode(ids) == english
