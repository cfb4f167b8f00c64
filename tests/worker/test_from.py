"""Trainings that begin from a checkpoint, end by a budget, or explode, on real workers."""

import random
from collections.abc import Iterator
from typing import Any

import pytest

from api.app import create_app
from shared.checkpoint_aliases import resolve
from shared.database import make_sessions
from shared.specs.presets import SampleSpec
from shared.tables import Job
from tests.api.conftest import settings_for
from tests.api.harness import ApiHarness, Person
from tests.worker.harness import TINY, Worker, World, some_text, until
from worker.data import checkpoints

GREEK = some_text() + ". Κύματα, κύματα! ἡ θάλασσα. " * 20

#: Coins: nothing to learn, so that whoever steps too far is wrong half of the time.
COINS = "".join(random.Random(7).choices("ab", k=6000))
#: The classic recipe's optimizer, which nothing holds back.
CALM = {
    "units": 64,
    "optimizer": "rmsprop",
    "schedule": "constant",
    "clip_norm": None,
    "average_decay": None,
    "patience": None,
}
#: A rate at which that explodes, even after three halvings.
WILD = {"learning_rate": 1.0}


@pytest.fixture(scope="module", autouse=True)
def worker(world: World) -> Iterator[Worker]:
    with world.worker() as worker:
        yield worker


@pytest.fixture(scope="module")
def ann(world: World, tmp_path_factory: pytest.TempPathFactory) -> Person:
    """Somebody who asks the API for what the workers then run."""
    there, directory = world.environment, tmp_path_factory.mktemp("api")
    settings = settings_for(there["DATABASE_URL"], there["REDIS_URL"], directory)
    app = create_app(settings, world.engine, world.broker)
    return ApiHarness(app, world.engine, world.queue).person("ann")


def test_another_text_with_new_characters_is_learnt_from_there(world: World, ann: Person) -> None:
    first = ann.train(ann.upload(some_text()), **TINY)["id"]
    world.succeeded(first)
    checkpoint = world.checkpoints(first)[-1]
    known = checkpoints.load(world.engine, checkpoint.sha256)
    second = ann.train(ann.upload(GREEK), **{"from": checkpoint.id})
    job = world.succeeded(second["id"])
    began = world.event(job.id, "began_from")
    assert (began["checkpoint"], began["goes_on"]) == (checkpoint.id, False)
    asked = {"model": job.model_id, "prompt": "!Κύμα", "length": 20}
    text = ann.post("/v1/generate", asked).json["id"]
    world.succeeded(text)
    assert world.texts(text)[0].prompt == "!Κύμα"
    for name in ("units", "window", "epochs", "learning_rate"):
        assert second["spec"][name] == TINY[name], "all that was not said is the checkpoint's"
    for row in world.checkpoints(job.id):
        saved = checkpoints.load(world.engine, row.sha256)
        # Whatever sorts before them, the known characters keep their places.
        assert saved.characters[: len(known.characters)] == known.characters
        assert saved.characters[len(known.characters)] == "!" < min(known.characters[1:])
        assert len(saved.characters) == len(set(GREEK))
    assert row.val_loss is not None


def test_the_same_text_at_a_constant_rate_goes_on(world: World, ann: Person) -> None:
    numbers = TINY | {"schedule": "constant", "patience": None, "seed": 3}
    corpus = ann.upload(some_text())
    whole = ann.train(corpus, **numbers | {"epochs": 4})["id"]
    half = ann.train(corpus, **numbers)["id"]
    for job_id in (whole, half):
        world.succeeded(job_id)
    checkpoint = world.checkpoints(half)[-1]
    second = ann.train(corpus, **{"from": checkpoint.id, "epochs": 2})["id"]
    world.succeeded(second)
    assert world.event(second, "began_from")["goes_on"] is True
    assert world.checkpoints(second)[-1].digest == world.checkpoints(whole)[-1].digest


def test_a_budget_ends_a_training(world: World) -> None:
    job = world.succeeded(world.train(epochs=None, budget={"seconds": 2}))
    assert job.progress is not None
    assert job.progress["step"] == job.progress["steps_total"] > 0


def test_one_that_stops_early_says_so(world: World) -> None:
    job = world.succeeded(world.train(COINS, epochs=2000, **CALM | {"patience": 2}))
    told = world.event(job.id, "stopped_early")
    assert job.progress is not None
    assert told["step"] == job.progress["step"] < job.progress["steps_total"]
    assert told["patience"] == 2
    assert job.model_id is not None
    with world.engine.connect() as connection:
        best = resolve(connection, job.model_id, "best")
    assert {each.id: each.step for each in world.checkpoints(job.id)}[best] == told["best_step"]


def test_after_three_explosions_a_job_fails_and_keeps_its_best(world: World) -> None:
    job_id = world.train(COINS, epochs=500, **CALM)
    until(lambda: len(judged(world, job_id)) > 1, "two validations")
    world.pause(job_id)
    until(lambda: world.job(job_id).status == "paused", "the pause")
    best = min(judged(world, job_id), key=lambda each: (each.val_loss, -each.step))
    # From here on no network survives a step, as where a text turns out to be another.
    sample = SampleSpec(length=5, temperatures=[1.0], every_steps=1)
    respecify(world, job_id, **WILD, sample=sample.model_dump())
    world.resume(job_id)
    job = world.ended(job_id)
    assert job.status == "failed"
    assert job.error is not None
    assert job.error["type"] == "/problems/diverged"
    back = world.told(job_id, "rolled_back", job.attempt)
    assert [event["rollbacks"] for event in back] == [1, 2, 3]
    assert [event["learning_rate"] for event in back] == [0.5, 0.25, 0.125]
    assert {event["back_to"] for event in back} == {best.step}
    written = {text.step for text in world.texts(job_id)}
    assert {event["step"] for event in back} <= written, "as at every other step"
    assert job.model_id is not None
    with world.engine.connect() as connection:
        assert resolve(connection, job.model_id, "best") == best.id


def judged(world: World, job_id: str) -> list[Any]:
    """The checkpoints of a training that have a validation loss."""
    return [each for each in world.checkpoints(job_id) if each.val_loss is not None]


def respecify(world: World, job_id: str, **numbers: Any) -> None:
    """Change the numbers of a job that waits."""
    with make_sessions(world.engine).begin() as session:
        job = session.get_one(Job, job_id)
        job.spec = job.spec | numbers
