"""Networks and requests shared by the tests of the sampler and of the engine."""

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from shared.specs.presets import resolve_train
from shared.specs.training import PresetName
from worker.ml.config import NetworkConfig, TrainConfig
from worker.ml.sampling import step
from worker.ml.sampling.request import SamplingRequest
from worker.ml.sampling.shape import StepShape

#: A difference in one bit may take many characters to show.
CHARACTERS = 400
Weights = dict[str, npt.NDArray[np.float32]]

STATEFUL = NetworkConfig(vocabulary_size=57, embedding=8, units=24, layers=1, window=None)
TIED = replace(STATEFUL, tied_embedding=True)
CLASSIC = NetworkConfig(vocabulary_size=40, embedding=0, units=20, layers=1, window=12)


def preset(name: PresetName, vocabulary_size: int = 96) -> NetworkConfig:
    """The network of an unchanged preset, as a training builds it."""
    spec = resolve_train(name, {}, seed=0, threads=1, shards=1)
    return TrainConfig.from_spec(spec.model_dump(), vocabulary_size).network


def make_weights(network: NetworkConfig, seed: int = 0, scale: float = 0.6) -> Weights:
    """Random weights that give neither flat nor one-sided distributions."""
    random = np.random.default_rng(seed)
    return {
        name: random.normal(0, scale, sizes).astype(np.float32)
        for name, sizes in network.weight_shapes().items()
    }


def make_request(prompt: object = (1, 2, 3), **changes: object) -> SamplingRequest:
    plain = SamplingRequest(np.asarray(prompt), 40, 1.0, None, None, 7)
    return replace(plain, **changes)  # type: ignore[arg-type]


def make_requests(network: NetworkConfig, count: int, seed: int = 0) -> list[SamplingRequest]:
    """Requests that differ in every field but the length, which is `CHARACTERS`."""
    dice = np.random.default_rng(seed)
    return [
        SamplingRequest(
            prompt=dice.integers(0, network.vocabulary_size, dice.integers(1, 90)),
            length=CHARACTERS,
            temperature=(0.0, 0.3, 0.7, 1.0, 1.3)[i % 5],
            top_k=(None, None, None, 5)[i % 4],
            top_p=(None, None, 0.9)[i % 3],
            seed=int(dice.integers(2**53)),
            repetition_penalty=1.3 if i % 7 == 0 else 1.0,
        )
        for i in range(count)
    ]


def reference_logits(
    weights: Weights, network: NetworkConfig, ids: npt.NDArray[np.integer]
) -> npt.NDArray[np.float64]:
    """The logits after `ids`, from a zero state, computed step by step from the formulas."""
    width = network.units
    states = [(np.zeros(width), np.zeros(width)) for _ in range(network.layers)]
    for character in ids:
        one_hot = np.eye(network.vocabulary_size)[character]
        x = weights["embedding"][character] if network.embedding else one_hot
        for layer, (h, c) in enumerate(states):
            name = f"lstm.{layer}."
            gates = x @ weights[name + "kernel"] + h @ weights[name + "recurrent_kernel"]
            i, f, g, o = np.split(gates.astype(np.float64) + weights[name + "bias"], 4)
            c = c / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
            x = np.tanh(c) / (1 + np.exp(-o))
            states[layer] = (x, c)
    if network.tied_embedding:
        x = x @ weights["projection.kernel"] + weights["projection.bias"]
        return x @ weights["embedding"].T + weights["head.bias"]
    return x @ weights["head.kernel"] + weights["head.bias"]


def count_traces(monkeypatch: pytest.MonkeyPatch) -> list[StepShape]:
    """The shapes whose graphs are traced from now on: tracing runs the step's Python code."""
    traced: list[StepShape] = []
    original = step.step_network

    def traced_step(shape: StepShape, *arguments: Any) -> Any:
        traced.append(shape)
        return original(shape, *arguments)

    monkeypatch.setattr(step, "step_network", traced_step)
    return traced
