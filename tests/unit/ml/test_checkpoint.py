"""Checkpoints as bytes: round trips, refusals, and a network run in NumPy."""

import json
import struct
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf
from safetensors.numpy import load, save

from tests.unit.ml.conftest import small_config
from worker.ml.checkpoint import BadCheckpoint, TrainingState, digest, fingerprint, pack, unpack
from worker.ml.model import logits
from worker.ml.training.trainer import Trainer
from worker.ml.vectorize import vectorize

Array = npt.NDArray[np.floating]


@pytest.fixture(scope="module")
def checkpoint(english: str) -> TrainingState:
    vocabulary, ids = vectorize(english[:400] + "紅樓夢")
    config = small_config("default", len(vocabulary), layers=2, epochs=1)
    trainer = Trainer(config, ids, vocabulary, lowercase=True)
    list(trainer.run())
    return trainer.state()


def test_every_field_survives_a_round_trip(checkpoint: TrainingState) -> None:
    data = pack(checkpoint)
    back = unpack(data)
    assert pack(back) == data
    assert digest(back) == digest(checkpoint)
    assert back.network == checkpoint.network
    assert back.characters == checkpoint.characters
    assert back.lowercase is True
    assert back.meta == json.loads(json.dumps(checkpoint.meta))
    for mine, theirs in (
        (back.weights, checkpoint.weights),
        (back.training, checkpoint.training),
    ):
        assert mine.keys() == theirs.keys()
        assert all(np.array_equal(mine[name], theirs[name]) for name in theirs)


def test_words_survive_a_round_trip_and_change_the_digest(english: str) -> None:
    vocabulary, ids = vectorize(english[:3000], words=40)
    config = small_config("default", len(vocabulary), epochs=1)
    state = Trainer(config, ids, vocabulary).state()
    assert state.words == vocabulary.words
    back = unpack(pack(state))
    assert (back.characters, back.words) == (vocabulary.characters, vocabulary.words)
    assert digest(back) == digest(state)
    assert digest(replace(state, words=state.words[::-1])) != digest(state)
    with pytest.raises(BadCheckpoint, match="tokens for a network"):
        replace(state, words=state.words[1:])
    with pytest.raises(BadCheckpoint, match="not a word"):
        replace(state, words=("\0\0", *state.words[1:]))


def test_the_rules_for_words_survive_and_only_words_need_a_new_format(english: str) -> None:
    vocabulary, ids = vectorize(english[:3000], words=40)
    state = Trainer(small_config("default", len(vocabulary)), ids, vocabulary).state()
    assert unpack(pack(state)).word_rules == 2
    assert unpack(pack(replace(state, word_rules=1))).word_rules == 1
    assert unpack(pack(replace(state, word_rules=1))).vocabulary.word_rules == 1
    characters, ids = vectorize(english[:3000])
    state = Trainer(small_config("default", len(characters)), ids, characters).state()
    header = json.loads(pack(state)[8 : 8 + int.from_bytes(pack(state)[:8], "little")])
    assert json.loads(header["__metadata__"]["quire"])["format"] == 1


@pytest.mark.parametrize("words", ["a string", [1], {"a": "b"}])
def test_words_of_another_type_are_refused(checkpoint: TrainingState, words: Any) -> None:
    data = pack(checkpoint)
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + size])
    described = json.loads(header["__metadata__"]["quire"])
    assert "words" not in described
    header["__metadata__"]["quire"] = json.dumps({**described, "words": words})
    written = json.dumps(header).encode()
    with pytest.raises(BadCheckpoint, match="another type"):
        unpack(struct.pack("<Q", len(written)) + written + data[8 + size :])


def test_weights_are_unpadded_under_their_documented_names(checkpoint: TrainingState) -> None:
    tensors = load(pack(checkpoint))
    shapes = checkpoint.network.weight_shapes()
    assert {name: tensors[name].shape for name in shapes} == shapes
    rest = tensors.keys() - shapes.keys()
    assert all(name.startswith("training.") for name in rest)
    assert len(rest) == 3 * len(shapes)


def test_the_digest_covers_every_variable_and_the_loop_but_not_the_machine(
    checkpoint: TrainingState,
) -> None:
    seen = {digest(checkpoint)}
    for kind in ("weights", "training"):
        for name, array in getattr(checkpoint, kind).items():
            changed = array.copy()
            changed.flat[-1] = np.nextafter(changed.flat[-1], np.float32(9))
            arrays = {**getattr(checkpoint, kind), name: changed}
            changes: dict[str, Any] = {kind: arrays}
            seen.add(digest(replace(checkpoint, **changes)))
    assert len(seen) == 1 + len(checkpoint.weights) + len(checkpoint.training)
    loop = {**checkpoint.meta["loop"], "step": 99}
    assert digest(replace(checkpoint, meta={**checkpoint.meta, "loop": loop})) not in seen
    elsewhere = {**checkpoint.meta, "fingerprint": fingerprint(64, 2, "gpu")}
    assert digest(replace(checkpoint, meta=elsewhere)) in seen


@pytest.mark.parametrize("cut", [0, 1, 7, 8, 100, 2000, -1])
def test_truncated_bytes_are_refused(checkpoint: TrainingState, cut: int) -> None:
    with pytest.raises(BadCheckpoint, match="not a checkpoint"):
        unpack(pack(checkpoint)[:cut])


def test_foreign_bytes_are_refused(checkpoint: TrainingState) -> None:
    data = pack(checkpoint)
    pickled = b"\x80\x04\x95" + b"\x00" * 50
    endless = struct.pack("<Q", 2**63) + data[8:]
    for bad in (b"", pickled, b"\xff" * 64, endless, data + b"\0", save({"a": np.zeros(1)})):
        with pytest.raises(BadCheckpoint, match="not a checkpoint"):
            unpack(bad)


def test_mismatched_tensors_are_named(checkpoint: TrainingState) -> None:
    weights = dict(checkpoint.weights)
    kernel = weights["head.kernel"]
    for bad in (kernel[:, :-1], kernel.astype(np.float64), kernel.T):
        with pytest.raises(BadCheckpoint, match=r"head\.kernel"):
            replace(checkpoint, weights={**weights, "head.kernel": bad})
    with pytest.raises(BadCheckpoint, match=r"unknown weights: \['extra'\]"):
        replace(checkpoint, weights={**weights, "extra": kernel})
    with pytest.raises(BadCheckpoint, match=r"missing weights: \['head\.kernel'\]"):
        replace(checkpoint, weights={n: w for n, w in weights.items() if n != "head.kernel"})
    with pytest.raises(BadCheckpoint, match=r"training\.velocity\.x"):
        replace(checkpoint, training={"velocity.x": kernel})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 3}, "format"),
        ({"network": {"units": 3}}, "network"),
        ({"network": None}, "misses"),
        ({"characters": "ab"}, "tokens for a network"),
        ({"characters": "aa"}, "twice"),
        ({"characters": 7}, "misses"),
        ({"lowercase": "yes"}, "misses"),
        ({"meta": []}, "misses"),
    ],
)
def test_a_header_that_does_not_match_the_tensors_is_refused(
    checkpoint: TrainingState, change: dict[str, object], message: str
) -> None:
    data = pack(checkpoint)
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    described = json.loads(header["__metadata__"]["quire"]) | change
    lying = save(load(data), metadata={"quire": json.dumps(described)})
    with pytest.raises(BadCheckpoint, match=message):
        unpack(lying)


def numpy_logits(weights: dict[str, Array], ids: list[int], layers: int) -> Array:
    """The whole network in NumPy, written from the description of the format alone."""

    def sigmoid(z: Array) -> Array:
        return 1 / (1 + np.exp(-z))

    size = len(weights["head.bias"])
    inputs = weights["embedding"][ids] if "embedding" in weights else np.eye(size)[ids]
    for layer in range(layers):
        kernel, recurrent, bias = (
            weights[f"lstm.{layer}.{part}"] for part in ("kernel", "recurrent_kernel", "bias")
        )
        h = c = np.zeros(len(recurrent))
        states = []
        for x in inputs:
            i, f, g, o = np.split(x @ kernel + h @ recurrent + bias, 4)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
            states.append(h)
        inputs = np.stack(states)
    return inputs @ weights["head.kernel"] + weights["head.bias"]


def test_a_page_of_numpy_runs_the_network(checkpoint: TrainingState) -> None:
    weights = {n: a for n, a in load(pack(checkpoint)).items() if not n.startswith("training.")}
    ids = [1, 5, 0, 3, 3, 2, 7]
    network = checkpoint.network
    tensors = {name: tf.constant(array) for name, array in weights.items()}
    ours = logits(tensors, tf.constant(ids)[:, None], network, last=False)[:, 0].numpy()
    np.testing.assert_allclose(numpy_logits(weights, ids, network.layers), ours, atol=1e-5)
