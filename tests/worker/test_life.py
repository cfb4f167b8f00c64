"""Jobs from submit to end, run by a real worker, on each database."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.database import make_sessions
from shared.specs.seeds import text_seed
from shared.tables import Job, Metric, Model
from tests.worker.harness import Worker, World, some_text, until

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def worker(world: World) -> Iterator[Worker]:
    with world.worker() as worker:
        yield worker


@pytest.fixture(scope="module")
def trained(world: World, worker: Worker) -> Job:
    """A training that has ended."""
    return world.succeeded(world.train(sample={"length": 20, "temperatures": [0.2, 1.0]}))


def test_a_training_leaves_checkpoints_progress_and_sampled_texts(
    world: World, trained: Job
) -> None:
    first, last = world.checkpoints(trained.id)
    assert trained.progress is not None
    assert trained.progress["step"] == trained.progress["steps_total"] == last.step
    assert trained.progress["val_loss"] == last.val_loss
    assert first.step * 2 == last.step
    assert first.val_loss is not None
    assert last.fingerprint["threads"] == 1
    texts = world.texts(trained.id)
    assert [(text.step, text.position) for text in texts] == [
        (first.step, 0),
        (first.step, 1),
        (last.step, 0),
        (last.step, 1),
    ]
    assert not any(text.requested for text in texts)
    assert {text.checkpoint_id for text in texts} == {first.id, last.id}
    assert all(len(text.text) == 20 and text.prompt in some_text() for text in texts)
    assert world.events(trained.id)[-1] == "succeeded"


def test_the_curve_is_in_the_database_while_the_training_runs(world: World, worker: Worker) -> None:
    job_id = world.train(epochs=1000, keep=1000, patience=None)
    until(lambda: len(judged_points(world, job_id)) > 1, "two judged points")
    assert world.job(job_id).status == "running"
    world.cancel(job_id)
    world.ended(job_id)
    points = world.points(job_id)
    for point in points:
        assert point.loss is not None
        assert 0 < point.loss < 6
        assert point.learning_rate is not None
        assert 0 < point.learning_rate <= 4e-3
        assert point.characters_per_second is not None
        assert point.characters_per_second > 0
    saved = {each.step: each.val_loss for each in world.checkpoints(job_id) if each.val_loss}
    assert saved
    assert {point.step: point.val_loss for point in judged_points(world, job_id)} == saved


def judged_points(world: World, job_id: str) -> list[Metric]:
    """The points of a loss curve at which the tail was read."""
    return [point for point in world.points(job_id) if point.val_loss is not None]


def test_a_generation_writes_its_texts_and_says_what_they_come_from(
    world: World, trained: Job
) -> None:
    assert trained.model_id
    job = world.succeeded(world.generate(trained.model_id, temperatures=(0.2, 1.0), n=2, seed=9))
    texts = world.texts(job.id)
    assert [(text.temperature, text.seed) for text in texts] == [
        (0.2, 9),
        (0.2, text_seed(9, 0, 1)),
        (1.0, text_seed(9, 1, 0)),
        (1.0, text_seed(9, 1, 1)),
    ]
    assert all(text.requested and len(text.text) == 40 for text in texts)
    assert {text.checkpoint_id for text in texts} == {world.checkpoints(trained.id)[-1].id}
    alone = world.succeeded(
        world.generate(trained.model_id, temperatures=(1.0,), seed=texts[3].seed)
    )
    assert world.texts(alone.id)[0].text == texts[3].text


def test_without_a_prompt_each_text_begins_with_its_own_piece_of_the_corpus(
    world: World, trained: Job
) -> None:
    assert trained.model_id
    texts = world.texts(world.succeeded(world.generate(trained.model_id, prompt=None, n=3)).id)
    assert len({text.prompt for text in texts}) == 3
    assert all(len(text.prompt) == 60 and text.prompt in some_text() for text in texts)
    again = world.texts(world.succeeded(world.generate(trained.model_id, prompt=None, n=3)).id)
    assert [text.text for text in again] == [text.text for text in texts]


def test_latest_is_what_is_latest_when_the_job_is_claimed(world: World, worker: Worker) -> None:
    training = world.train(epochs=400)
    world.first_checkpoint(training)
    model_id = world.job(training).model_id
    assert model_id
    submitted_after = world.checkpoints(training)[-1].step
    job = world.succeeded(world.generate(model_id, checkpoint="latest"))
    used = {text.checkpoint_id for text in world.texts(job.id)}
    steps = {row.step for row in world.checkpoints(training) if row.id in used}
    assert len(steps) == 1
    assert steps.pop() >= submitted_after
    assert world.cancel(training) == "running"
    assert world.ended(training).status == "cancelled"


def test_a_cancelled_training_stops_soon_and_keeps_its_checkpoints(
    world: World, worker: Worker
) -> None:
    job_id = world.train(epochs=1000)
    world.first_checkpoint(job_id)
    world.cancel(job_id)
    job = world.ended(job_id, seconds=10)
    assert job.status == "cancelled"
    assert job.progress is not None
    assert job.progress["epoch"] < 1000
    assert world.checkpoints(job_id)


def test_a_job_whose_wake_was_lost_is_found(world: World, worker: Worker) -> None:
    world.succeeded(world.train(wake=False, epochs=1), seconds=30)


def test_a_job_whose_wake_came_twice_runs_once(world: World, trained: Job) -> None:
    assert trained.model_id
    job_id = world.generate(trained.model_id)
    world.broker.wake("generate", job_id)
    world.broker.wake("generate", job_id)
    job = world.succeeded(job_id)
    # Another job after the doubled wakes, so that these are surely done with.
    world.succeeded(world.generate(trained.model_id))
    assert world.job(job_id).attempt == job.attempt == 1
    assert world.count(job_id, "claimed") == 1
    assert len(world.texts(job_id)) == 1


def test_the_log_of_a_run_names_the_wake_and_the_job(
    world: World, worker: Worker, trained: Job
) -> None:
    lines = [line for line in worker.log.splitlines() if "run_started" in line]
    assert any(f'"wake": "{trained.id}"' in line and f'"job": "{trained.id}"' in line
               for line in lines)  # fmt: skip


def test_a_training_without_its_model_fails_and_says_so(world: World, worker: Worker) -> None:
    job_id = world.train(wake=False)
    with make_sessions(world.engine).begin() as session:
        session.delete(session.get_one(Model, session.get_one(Job, job_id).model_id))
    world.broker.wake("train", job_id)
    job = world.ended(job_id)
    assert job.status == "failed"
    assert job.error is not None
    assert job.error["type"] == "/problems/model-deleted"


def test_a_generation_before_the_first_checkpoint_fails_and_says_so(
    world: World, worker: Worker
) -> None:
    training = world.train(wake=False, epochs=1)
    model_id = world.job(training).model_id
    assert model_id
    world.cancel(training)
    job = world.ended(world.generate(model_id))
    assert job.error is not None
    assert job.error["type"] == "/problems/no-checkpoint"
    assert "'best'" in job.error["detail"]


def test_a_text_too_short_for_its_windows_fails_and_says_so(world: World, worker: Worker) -> None:
    job = world.ended(world.train("Too short."))
    assert job.error is not None
    assert job.error["type"] == "/problems/text-too-short"
    assert "10 tokens" in job.error["detail"]


def test_a_classic_training_lower_cases_and_writes_with_its_window(
    world: World, worker: Worker
) -> None:
    job_id = world.train(
        preset="classic", epochs=1, batch_size=128, sample={"length": 12, "temperatures": [0.5]}
    )
    world.succeeded(job_id)
    [text] = world.texts(job_id)
    assert text.prompt == text.prompt.lower()
    assert len(text.prompt) == 16
    assert text.epoch == 1


def test_a_worker_shows_itself_and_is_hidden_from_gpus(world: World, worker: Worker) -> None:
    rows = {row.lane: row for row in world.devices()}
    assert set(rows) == {"train", "generate"}
    for row in rows.values():
        assert row.ready_at is not None
        assert row.versions["tensorflow"].startswith("2.")
        environment = Path(f"/proc/{row.pid}/environ").read_bytes().split(b"\0")
        assert b"CUDA_VISIBLE_DEVICES=-1" in environment
    beaten = rows["train"].heartbeat_at
    until(lambda: world.devices()[1].heartbeat_at > beaten, "a heartbeat", 5)
