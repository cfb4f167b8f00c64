"""A `classic` model samples from the same distribution as the original script.

Real workers train the model and generate with it. Its checkpoint is downloaded over HTTP and run by
the NumPy code in docs/checkpoint-format.md, which reads the last 60 characters again for each
character and samples from the normalised `exp(log p / T)` with the same random numbers.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from api.app import create_app
from shared.accounts import create_key
from shared.database import make_sessions
from shared.settings import load_settings
from shared.tables import User
from tests.unit.ml.test_checkpoint_page import network_of_the_page
from tests.worker.harness import Worker, WorkerHarness
from worker.ml.sampling.rng import uniforms

LENGTH, WINDOW = 150, 60
TEMPERATURES = (0.5, 1.0, 1.2)
#: The error of a float32's running sum; a random number may lie that close to it.
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def worker(sqlite_harness: WorkerHarness) -> Iterator[Worker]:
    with sqlite_harness.worker() as worker:
        yield worker


@pytest.fixture(scope="module")
def downloaded(sqlite_harness: WorkerHarness, worker: Worker) -> tuple[Any, str]:
    """The NumPy network of a checkpoint downloaded from the API, and the model's id."""
    harness = sqlite_harness
    training = harness.train(
        preset="classic", window=WINDOW, embedding=0, units=32, batch_size=64, epochs=3, sample=None
    )
    model = harness.wait_until_succeeded(training, 120).model_id
    assert model
    addresses = {name: harness.environment[name.upper()] for name in ("database_url", "redis_url")}
    app = create_app(load_settings(**addresses), harness.engine, harness.broker)
    with make_sessions(harness.engine).begin() as session:
        key = create_key(session, session.query(User).one()).key
    checkpoint = harness.checkpoints(training)[-1].id
    response = app.test_client().get(
        f"/v1/checkpoints/{checkpoint}/download", headers={"Authorization": f"Bearer {key}"}
    )
    assert response.status_code == 200
    network = network_of_the_page()(response.data)
    assert network.window == WINDOW
    return network, model


def test_each_character_is_the_one_that_numpy_samples(
    sqlite_harness: WorkerHarness, worker: Worker, downloaded: tuple[Any, str]
) -> None:
    network, model = downloaded
    job = sqlite_harness.wait_until_succeeded(
        sqlite_harness.generate(
            model,
            checkpoint="latest",
            prompt=None,
            length=LENGTH,
            temperatures=TEMPERATURES,
            logprobs=True,
        )
    )
    for text, temperature in zip(sqlite_harness.texts(job.id), TEMPERATURES, strict=True):
        ids = network.encode(text.prompt)
        assert len(ids) == WINDOW
        numbers = uniforms(text.seed, 0, LENGTH)
        for position, token in enumerate(network.encode(text.text)):
            logits = network.logits(ids)
            log_p = logits - np.log(np.exp(logits - logits.max()).sum()) - logits.max()
            assert text.logprobs is not None
            assert text.logprobs[position] == pytest.approx(log_p[token], abs=TOLERANCE)
            reweighted = np.exp(log_p / temperature)
            sums = np.cumsum(reweighted / reweighted.sum())
            below = sums[token - 1] if token else 0.0
            assert below - TOLERANCE <= numbers[position] <= sums[token] + TOLERANCE
            ids.append(token)
