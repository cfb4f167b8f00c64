"""A `classic` model draws from the very distribution that the script does.

Real workers train it and write with it. Its file is downloaded over HTTP and run by the page of
NumPy in docs/checkpoint-format.md, anew over the last 60 characters for each character, and
`exp(log p / T)`, normalised, is drawn from with the same random numbers.
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
from tests.worker.harness import Worker, World
from worker.ml.sampling.rng import uniforms

LENGTH, WINDOW = 150, 60
TEMPERATURES = (0.5, 1.0, 1.2)
#: A float32's running sum may be off by so much, and a random number may lie just there.
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def worker(sqlite_world: World) -> Iterator[Worker]:
    with sqlite_world.worker() as worker:
        yield worker


@pytest.fixture(scope="module")
def downloaded(sqlite_world: World, worker: Worker) -> tuple[Any, str]:
    """A network of the page, from what the API gives, and the model's id."""
    world = sqlite_world
    training = world.train(
        preset="classic", window=WINDOW, embedding=0, units=32, batch_size=64, epochs=3, sample=None
    )
    model = world.succeeded(training, 120).model_id
    assert model
    addresses = {name: world.environment[name.upper()] for name in ("database_url", "redis_url")}
    app = create_app(load_settings(**addresses), world.engine, world.broker)
    with make_sessions(world.engine).begin() as session:
        key = create_key(session, session.query(User).one()).key
    checkpoint = world.checkpoints(training)[-1].id
    response = app.test_client().get(
        f"/v1/checkpoints/{checkpoint}/download", headers={"Authorization": f"Bearer {key}"}
    )
    assert response.status_code == 200
    network = network_of_the_page()(response.data)
    assert network.window == WINDOW
    return network, model


def test_each_character_is_the_one_that_numpy_draws(
    sqlite_world: World, worker: Worker, downloaded: tuple[Any, str]
) -> None:
    network, model = downloaded
    job = sqlite_world.succeeded(
        sqlite_world.generate(
            model,
            checkpoint="latest",
            prompt=None,
            length=LENGTH,
            temperatures=TEMPERATURES,
            logprobs=True,
        )
    )
    for text, temperature in zip(sqlite_world.texts(job.id), TEMPERATURES, strict=True):
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
