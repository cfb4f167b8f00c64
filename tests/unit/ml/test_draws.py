"""Sampling parameters: temperature schedules, repetition penalties, log-probabilities."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from tests.unit.ml.networks import CLASSIC, STATEFUL, make_request, make_weights, reference_logits
from worker.ml.config import NetworkConfig
from worker.ml.sampling.sampler import Sampler


def logprobs_of(
    weights: dict[str, npt.NDArray[np.float32]],
    network: NetworkConfig,
    ids: npt.NDArray[np.integer],
) -> list[float]:
    """ln p of each character but the first, computed from the formulas."""
    found = []
    for place in range(1, len(ids)):
        logits = reference_logits(
            weights, network, ids[max(0, place - (network.window or place)) : place]
        )
        found.append(float(logits[ids[place]] - np.log(np.exp(logits).sum())))
    return found


@pytest.mark.parametrize("network", [STATEFUL, CLASSIC])
def test_logprobs_are_those_of_the_network(network: NetworkConfig) -> None:
    weights = make_weights(network)
    sampler = Sampler(weights, network)
    prompt = np.arange(15) % network.vocabulary_size
    written = sampler.new_sequence(make_request(prompt, length=30, temperature=0.3, top_k=3))
    read = sampler.new_sequence(make_request(np.concatenate([prompt, prompt]), length=0))
    for sequence in (written, read):
        while sequence.remaining_steps:
            sampler.advance([sequence])
    whole = np.concatenate([prompt, written.output_ids])
    expected = logprobs_of(weights, network, whole)[len(prompt) - 1 :]
    np.testing.assert_allclose(written.logprobs, expected, atol=2e-4)
    expected = logprobs_of(weights, network, np.concatenate([prompt, prompt]))
    np.testing.assert_allclose(read.logprobs, expected, atol=2e-4)
    assert len(read.output_ids) == 0


def test_a_schedule_starts_and_ends_at_its_temperatures() -> None:
    sampler = Sampler(make_weights(STATEFUL), STATEFUL)
    cold, still = make_request(length=80, temperature=0.0), make_request(length=80, temperature=1.1)
    for one, other in (
        (replace(cold, temperature_to=0.0), cold),
        (replace(still, temperature_to=1.1), still),
    ):
        np.testing.assert_array_equal(*sampler.generate([one, other]))
    cooling = sampler.generate([replace(still, temperature_to=0.0)])[0]
    likeliest = sampler.new_sequence(
        make_request(np.concatenate([still.prompt, cooling[:-1]]), length=1)
    )
    likeliest.request = replace(likeliest.request, temperature=0.0)
    sampler.advance([likeliest], likeliest.remaining_steps)
    assert likeliest.output_ids[0] == cooling[-1]
    assert cooling[0] == sampler.generate([still])[0][0]


@pytest.mark.parametrize(("first", "last"), [(0.2, 1.3), (1.5, 0.5), (0.7, 0.7)])
@pytest.mark.parametrize("length", [1, 2, 700])
def test_a_schedule_takes_equal_steps_wherever_blocks_end(
    first: float, last: float, length: int
) -> None:
    sampler = Sampler(make_weights(STATEFUL), STATEFUL)
    prompt = np.arange(30)
    sequence = sampler.new_sequence(
        make_request(prompt, length=length, temperature=first, temperature_to=last)
    )
    fed: list[float] = []
    for steps in (13, 29, 1, 256, *[100] * 10):
        steps = min(steps, sequence.remaining_steps)
        inverse = np.zeros(steps, np.float32)
        sequence.fill_inputs(np.zeros(steps, np.int32), np.zeros(steps, np.float32), inverse)
        fed += inverse.tolist()
        if sequence.remaining_steps:
            sampler.advance([sequence], steps)
    assert sequence.remaining_steps == 0
    # A step that yields a character of the prompt draws nothing.
    drawn = np.array(fed[len(prompt) - 1 :])
    np.testing.assert_allclose(1 / drawn, np.linspace(first, last, length), rtol=1e-6)


def test_a_repetition_penalty_makes_recent_characters_rare() -> None:
    network = NetworkConfig(57, embedding=0, units=4, layers=1, window=None)
    weights = {name: np.zeros(sizes, np.float32) for name, sizes in network.weight_shapes().items()}
    sampler = Sampler(weights, network)
    free, forbidden = (
        sampler.generate([make_request([5], length=56, repetition_penalty=penalty)])[0]
        for penalty in (1.0, 1e30)
    )
    # All 57 characters are equally likely, and those already written are out of reach.
    assert sorted([5, *forbidden]) == list(range(57))
    assert len(set(free)) < 50
    # After 65 characters, one may occur again, wherever the blocks end.
    again = sampler.generate(
        [make_request([5] + [6] * 64, length=1, top_k=1, repetition_penalty=1e30)]
    )[0]
    assert again[0] != 6


@pytest.mark.parametrize("name", ["temperature_to", "repetition_penalty"])
def test_schedules_and_penalties_are_range_checked(name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} is -1"):
        make_request(**{name: -1.0})
