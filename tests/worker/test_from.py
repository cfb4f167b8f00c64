"""Trainings that start from a checkpoint, end by a budget, or diverge, on real workers."""

import random
from collections.abc import Iterator
from typing import Any

import pytest

from api.app import create_app
from shared.checkpoint_aliases import resolve
from shared.database import make_sessions
from shared.specs.training import SampleSpec
from shared.tables import Job
from tests.api.conftest import settings_for
from tests.api.exported import bring
from tests.api.harness import ApiHarness, Person
from tests.worker.harness import TINY, Worker, WorkerHarness, some_text, until
from worker.data import checkpoints

GREEK = some_text() + ". Κύματα, κύματα! ἡ θάλασσα. " * 20

#: Coin flips: there is nothing to learn, so a network that steps too far is wrong half the time.
COINS = "".join(random.Random(7).choices("ab", k=6000))
#: The classic recipe's optimizer, without anything that limits its steps. With fewer units, a
#: training that was paused early may survive even `DIVERGING`.
UNCLIPPED = {
    "units": 256,
    "optimizer": "rmsprop",
    "schedule": "constant",
    "clip_norm": None,
    "average_decay": None,
    "patience": None,
}
#: A rate at which this diverges, even after three halvings.
DIVERGING = {"learning_rate": 1.0}


@pytest.fixture(scope="module", autouse=True)
def worker(harness: WorkerHarness) -> Iterator[Worker]:
    with harness.worker() as worker:
        yield worker


@pytest.fixture(scope="module")
def ann(harness: WorkerHarness, tmp_path_factory: pytest.TempPathFactory) -> Person:
    """A user of an API on the same database."""
    there, directory = harness.environment, tmp_path_factory.mktemp("api")
    settings = settings_for(there["DATABASE_URL"], there["REDIS_URL"], directory)
    app = create_app(settings, harness.engine, harness.broker)
    return ApiHarness(app, harness.engine, harness.queue).person("ann")


def test_a_text_with_new_characters_can_start_from_a_checkpoint(
    harness: WorkerHarness, ann: Person
) -> None:
    first = ann.train(ann.upload(some_text()), **TINY)["id"]
    harness.wait_until_succeeded(first)
    checkpoint = harness.checkpoints(first)[-1]
    known = checkpoints.load(harness.engine, checkpoint.sha256)
    second = ann.train(ann.upload(GREEK), **{"from": checkpoint.id})
    job = harness.wait_until_succeeded(second["id"])
    began = harness.event(job.id, "began_from")
    assert (began["checkpoint"], began["goes_on"]) == (checkpoint.id, False)
    asked = {"model": job.model_id, "prompt": "!Κύμα", "length": 20}
    text = ann.post("/v1/generate", asked).json["id"]
    harness.wait_until_succeeded(text)
    assert harness.texts(text)[0].prompt == "!Κύμα"
    for name in ("units", "window", "epochs", "learning_rate"):
        assert second["spec"][name] == TINY[name], "unspecified fields come from the checkpoint"
    for row in harness.checkpoints(job.id):
        saved = checkpoints.load(harness.engine, row.sha256)
        # Known characters keep their ids, even where a new one sorts before them.
        assert saved.characters[: len(known.characters)] == known.characters
        assert saved.characters[len(known.characters)] == "!" < min(known.characters[1:])
        assert len(saved.characters) == len(set(GREEK))
    assert row.val_loss is not None


def test_an_imported_model_writes_scores_and_is_trained_on(
    harness: WorkerHarness, ann: Person
) -> None:
    corpus = ann.upload(some_text())
    numbers = TINY | {"schedule": "constant", "patience": None, "seed": 5}
    first = ann.train(corpus, **numbers)
    harness.wait_until_succeeded(first["id"])
    whole = ann.get(f"/v1/models/{first['model']}/export").get_data()
    light = ann.get(f"/v1/models/{first['model']}/export?optimizer=false").get_data()
    origin, copy, small = (
        ann.get(f"/v1/models/{model}").json
        for model in (first["model"], bring(ann, whole).json["id"], bring(ann, light).json["id"])
    )
    texts, scores = [], []
    for model in (origin, copy, small):
        asked = {"model": model["id"], "prompt": "the ", "length": 30, "seed": 3}
        job = ann.post("/v1/generate", asked).json["id"]
        harness.wait_until_succeeded(job)
        texts.append(harness.texts(job)[0].text)
        job = ann.post("/v1/score", {"model": model["id"], "text": some_text()[:200]}).json["id"]
        harness.wait_until_succeeded(job)
        scores.append(harness.texts(job)[0].bits_per_char)
    assert len(set(texts)) == len(set(scores)) == 1
    digests = {}
    for model, goes_on in ((origin, True), (copy, True), (small, False)):
        started = ann.train(corpus, **{"from": model["checkpoints"]["latest"], "epochs": 1})["id"]
        harness.wait_until_succeeded(started)
        assert harness.event(started, "began_from")["goes_on"] is goes_on
        digests[model["id"]] = harness.checkpoints(started)[-1].digest
    assert digests[copy["id"]] == digests[origin["id"]], "it goes on to the bit"


def test_the_same_text_at_a_constant_rate_continues_the_training(
    harness: WorkerHarness, ann: Person
) -> None:
    numbers = TINY | {"schedule": "constant", "patience": None, "seed": 3}
    corpus = ann.upload(some_text())
    whole = ann.train(corpus, **numbers | {"epochs": 4})["id"]
    half = ann.train(corpus, **numbers)["id"]
    for job_id in (whole, half):
        harness.wait_until_succeeded(job_id)
    checkpoint = harness.checkpoints(half)[-1]
    second = ann.train(corpus, **{"from": checkpoint.id, "epochs": 2})["id"]
    harness.wait_until_succeeded(second)
    assert harness.event(second, "began_from")["goes_on"] is True
    assert harness.checkpoints(second)[-1].digest == harness.checkpoints(whole)[-1].digest


def test_on_the_same_text_the_same_pieces_judge_whatever_the_seed(
    harness: WorkerHarness, ann: Person
) -> None:
    corpus = ann.upload(some_text())
    first = ann.train(corpus, **TINY, seed=3)["id"]
    harness.wait_until_succeeded(first)
    held_out = harness.event(first, "held_out")
    assert len(held_out["pieces"]) > 2
    assert held_out["tokens"] == len(some_text())
    checkpoint = harness.checkpoints(first)[-1].id
    jobs = {
        "seed": ann.train(corpus, **{"from": checkpoint, "seed": 99})["id"],
        "window": ann.train(corpus, **{"from": checkpoint, "window": 32})["id"],
        "lowercase": ann.train(corpus, **{"from": checkpoint, "lowercase": True})["id"],
        "text": ann.train(ann.upload(GREEK), **{"from": checkpoint})["id"],
    }
    for name, job_id in jobs.items():
        harness.wait_until_succeeded(job_id)
        kept = harness.event(job_id, "held_out") == held_out
        assert kept == (name != "text"), name
        row = harness.checkpoints(job_id)[-1]
        stored = checkpoints.load(harness.engine, row.sha256)
        assert stored.meta["holdout"] == harness.event(job_id, "held_out")
    for point in ann.items(f"/v1/jobs/{first}/metrics?validation=true"):
        assert len(point["piece_losses"]) == len(held_out["pieces"])
        assert min(point["piece_losses"]) <= point["val_loss"] <= max(point["piece_losses"])


def test_a_budget_ends_a_training(harness: WorkerHarness) -> None:
    job = harness.wait_until_succeeded(harness.train(epochs=None, budget={"seconds": 2}))
    assert job.progress is not None
    assert job.progress["step"] == job.progress["steps_total"] > 0


def test_an_early_stop_is_recorded(harness: WorkerHarness) -> None:
    job = harness.wait_until_succeeded(
        harness.train(COINS, epochs=2000, **UNCLIPPED | {"patience": 2})
    )
    event = harness.event(job.id, "stopped_early")
    assert job.progress is not None
    assert event["step"] == job.progress["step"] < job.progress["steps_total"]
    assert event["patience"] == 2
    assert job.model_id is not None
    with harness.engine.connect() as connection:
        best = resolve(connection, job.model_id, "best")
    assert {row.id: row.step for row in harness.checkpoints(job.id)}[best] == event["best_step"]


def test_after_three_rollbacks_a_job_fails_and_keeps_its_best_checkpoint(
    harness: WorkerHarness,
) -> None:
    job_id = harness.train(COINS, epochs=500, **UNCLIPPED)
    until(lambda: len(validated(harness, job_id)) > 1, "two validations")
    harness.pause(job_id)
    until(lambda: harness.job(job_id).status == "paused", "the pause")
    best = min(validated(harness, job_id), key=lambda row: (row.val_loss, -row.step))
    # From here on every step diverges.
    sample = SampleSpec(length=5, temperatures=[1.0], every_steps=1)
    change_spec(harness, job_id, **DIVERGING, sample=sample.model_dump())
    harness.resume(job_id)
    job = harness.wait_until_ended(job_id, seconds=180)
    assert job.status == "failed"
    assert job.error is not None
    assert job.error["type"] == "/problems/diverged"
    rollbacks = harness.events_of_attempt(job_id, "rolled_back", job.attempt)
    assert [event["rollbacks"] for event in rollbacks] == [1, 2, 3]
    assert [event["learning_rate"] for event in rollbacks] == [0.5, 0.25, 0.125]
    assert {event["back_to"] for event in rollbacks} == {best.step}
    written = {text.step for text in harness.texts(job_id)}
    assert {event["step"] for event in rollbacks} <= written, "texts are due at rollbacks too"
    assert job.model_id is not None
    with harness.engine.connect() as connection:
        assert resolve(connection, job.model_id, "best") == best.id


def validated(harness: WorkerHarness, job_id: str) -> list[Any]:
    """A training's checkpoints that have a validation loss."""
    return [row for row in harness.checkpoints(job_id) if row.val_loss is not None]


def test_a_loss_that_explodes_at_the_last_step_leaves_a_validated_model(
    harness: WorkerHarness,
) -> None:
    sample = SampleSpec(length=5, temperatures=[0.5, 1.0])
    # 5,400 characters are 337 windows, so two steps. The second is the first that can explode.
    numbers = {"batch_size": 200, "epochs": 1, "sample": sample.model_dump()}
    job_id = harness.train(COINS, **(UNCLIPPED | DIVERGING | numbers))
    job = harness.wait_until_succeeded(job_id)
    assert harness.event(job_id, "rolled_back")["step"] == 2
    assert job.progress is not None
    assert (job.progress["step"], job.progress["steps_total"]) == (2, 2)
    [checkpoint] = harness.checkpoints(job_id)
    assert (checkpoint.step, checkpoint.val_loss) == (2, job.progress["val_loss"])
    texts = harness.texts(job_id)
    assert {text.checkpoint_id for text in texts} == {checkpoint.id}
    assert [text.step for text in texts] == [2, 2], "they are written once"


def change_spec(harness: WorkerHarness, job_id: str, **numbers: Any) -> None:
    """Change fields of a paused job's spec."""
    with make_sessions(harness.engine).begin() as session:
        job = session.get_one(Job, job_id)
        job.spec = job.spec | numbers
