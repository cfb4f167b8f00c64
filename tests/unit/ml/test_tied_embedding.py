"""A tied embedding: its first weights, its training, its checkpoints, and its texts."""

import json
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from tests.unit.ml.conftest import Start, small_config
from worker.ml.checkpoint import digest, pack, unpack
from worker.ml.config import ITEM_BEGIN, ITEM_END, NetworkConfig
from worker.ml.model import initial_weights
from worker.ml.sampling.request import SamplingRequest
from worker.ml.sampling.sampler import Sampler
from worker.ml.training.progress import Validated
from worker.ml.training.trainer import Trainer
from worker.ml.training.variables import CheckpointMismatch
from worker.ml.vectorize import token_counts, vectorize

TIED = {"tied_embedding": True, "embedding": 6}


def test_its_output_has_no_kernel_of_its_own() -> None:
    tied = NetworkConfig(4447, 128, 256, 1, None, tied_embedding=True).weight_shapes()
    assert "head.kernel" not in tied
    assert tied["projection.kernel"] == (256, 128)
    with pytest.raises(ValueError, match="embedding is 0"):
        NetworkConfig(30, 0, 8, 1, None, tied_embedding=True)


def test_the_bias_begins_at_the_logarithms_of_what_is_trained_on(start: Start, text: str) -> None:
    trainer = start("default", **TIED)
    vocabulary, ids = vectorize(text)
    [(first, end)] = trainer.holdout.parts
    seen = vocabulary.decode(ids[first:end])
    found = np.exp(trainer.state().weights["head.bias"].astype(float))
    expected = np.array([seen.count(c) + 0.1 for c in vocabulary.characters])
    np.testing.assert_allclose(found, expected / expected.sum(), rtol=1e-5)
    assert found.sum() == pytest.approx(1)
    assert not initial_weights(small_config("default", 9).network, 1)["head.bias"].any()


def test_only_what_is_trained_on_is_counted() -> None:
    ids = np.array([0, 1, 2, 2, 1, 0, 0], np.uint8)
    assert token_counts(ids, [(0, 2), (3, 5)], 4).tolist() == [1, 2, 1, 0]
    assert token_counts(ids, np.array([[5, 7]]), 3).tolist() == [2, 0, 0]


def test_it_learns_and_resumes_to_the_bit(start: Start) -> None:
    changes = {**TIED, "dropout": 0.2, "epochs": 12}
    whole, first = start("default", **changes), start("default", **changes)
    losses = [event.val_loss for event in whole.run() if isinstance(event, Validated)]
    assert losses[-1] < losses[0]
    for _ in islice(first.run(), 1):
        pass
    assert 0 < first.step < first.steps_total
    second = start("default", state=unpack(pack(first.state())), **changes)
    assert second.exact
    list(second.run())
    assert digest(second.state()) == digest(whole.state())


def test_its_checkpoint_says_so_and_others_say_nothing(start: Start) -> None:
    def described(trainer: Trainer) -> dict[str, object]:
        data = pack(trainer.state())
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        return dict(json.loads(header["__metadata__"]["quire"])["network"])

    tied, plain = start("default", **TIED), start("default")
    assert described(tied)["tied_embedding"] is True
    # As earlier releases wrote it, so that a small alphabet's digests stay.
    assert "tied_embedding" not in described(plain)
    assert "tied_embedding" not in plain.state().meta["config"]["network"]
    assert unpack(pack(tied.state())).network == tied.config.network
    with pytest.raises(CheckpointMismatch, match="tied_embedding"):
        start("default", state=tied.state(), embedding=6)


def test_a_trained_one_writes_the_same_alone_and_beside_others(start: Start) -> None:
    trainer = start("default", **TIED)
    list(trainer.run())
    sampler = Sampler(trainer.state().weights, trainer.config.network)
    requests = [SamplingRequest(np.array([3, 1]), 60, 0.8, None, None, seed) for seed in range(5)]
    together = sampler.generate(requests)
    for request, text in zip(requests, together, strict=True):
        np.testing.assert_array_equal(text, sampler.generate([request])[0])


def test_items_count_without_what_is_held_out(text: str) -> None:
    names = [ITEM_BEGIN + word + ITEM_END for word in text.split()[:120]]
    vocabulary, ids = vectorize("".join(names))
    config = replace(small_config("default", len(vocabulary), **TIED), items=True)
    trainer = Trainer(config, ids, vocabulary)
    bias = trainer.state().weights["head.bias"]
    begins = vocabulary.characters.index(ITEM_BEGIN)
    trained = sum(int(end - first) for first, end in trainer.holdout.parts)
    count = len(trainer.holdout.parts)
    expected = np.log((count + 0.1) / (trained + 0.1 * len(vocabulary)))
    assert bias[begins] == pytest.approx(expected, abs=1e-5)
