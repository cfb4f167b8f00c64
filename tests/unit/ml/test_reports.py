"""What the loop tells beside its tokens: alternatives, and the distribution of the first draw."""

from dataclasses import replace

import numpy as np
import pytest

from tests.unit.ml.networks import CLASSIC, STATEFUL, make_request, make_weights, reference_logits
from worker.handlers.next_run import distribution
from worker.ml.config import NetworkConfig
from worker.ml.sampling.engine import Engine
from worker.ml.sampling.report import MAX_ALTERNATIVES
from worker.ml.sampling.sampler import Sampler

FEW = NetworkConfig(vocabulary_size=3, embedding=0, units=8, layers=1, window=None)


@pytest.mark.parametrize("network", [STATEFUL, CLASSIC])
def test_the_likeliest_tokens_are_those_of_the_network_itself(network: NetworkConfig) -> None:
    weights = make_weights(network)
    sampler = Sampler(weights, network)
    plain = make_request(length=30, temperature=0.7, top_k=5)
    sequence = sampler.new_sequence(replace(plain, report="likeliest"))
    while sequence.remaining_steps:
        sampler.advance([sequence], 7)
    text = sequence.output_ids
    [unasked] = sampler.generate([plain])
    np.testing.assert_array_equal(text, unasked)
    whole = np.concatenate([plain.prompt, text])
    told = sequence.likeliest(0, 30)
    assert len(told) == 30
    for place, (ids, logprobs) in enumerate(told):
        read = whole[: len(plain.prompt) + place][-(network.window or 0) :]
        logits = reference_logits(weights, network, read)
        expected = logits - np.log(np.exp(logits).sum())
        assert len(ids) == MAX_ALTERNATIVES
        assert (np.diff(logprobs) <= 0).all()
        np.testing.assert_allclose(logprobs, expected[ids], atol=2e-4)
        np.testing.assert_allclose(logprobs, np.sort(expected)[::-1][:10], atol=2e-4)
        if text[place] in ids:
            same = logprobs[list(ids).index(text[place])]
            assert same == pytest.approx(sequence.logprobs[place], abs=1e-5)


@pytest.mark.parametrize("network", [STATEFUL, CLASSIC, FEW])
def test_the_distribution_after_a_prompt(network: NetworkConfig) -> None:
    weights = make_weights(network)
    sampler = Sampler(weights, network)
    engine = Engine(1)
    asked = [make_request(prompt, length=1, report="distribution") for prompt in ([1], [1, 2] * 9)]
    sequences = [sampler.new_sequence(request) for request in asked]
    others = [sampler.new_sequence(make_request([1, 2])) for _ in range(3)]
    for sequence in (*sequences, *others):
        engine.add(sequence, sampler, "ann")
    while len(engine):
        engine.step()
    engine.close()
    for request, sequence in zip(asked, sequences, strict=True):
        assert sequence.distribution is not None
        read = request.prompt[-(network.window or 0) :]
        logits = reference_logits(weights, network, read)
        for temperature in (0.4, 1.0, 2.5):
            found = distribution(
                sequence.distribution[: network.vocabulary_size].astype(float), temperature
            )
            weighed = np.exp((logits - logits.max()) / temperature)
            np.testing.assert_allclose(found, weighed / weighed.sum(), atol=1e-4)
    assert all(other.distribution is None for other in others)


def test_at_temperature_0_the_likeliest_token_is_alone() -> None:
    logits = np.array([-3.0, 0.0, -1.0])
    np.testing.assert_array_equal(distribution(logits, 0.0), [0.0, 1.0, 0.0])
    np.testing.assert_array_equal(distribution(logits, 1e-300), [0.0, 1.0, 0.0])
