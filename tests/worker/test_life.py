"""Jobs from submission to end, run by a real worker, on each database."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.database import make_sessions
from shared.specs.seeds import text_seed
from shared.tables import Job, Metric, Model
from tests.worker.harness import Worker, WorkerHarness, some_text, until

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def worker(harness: WorkerHarness) -> Iterator[Worker]:
    with harness.worker() as worker:
        yield worker


@pytest.fixture(scope="module")
def trained(harness: WorkerHarness, worker: Worker) -> Job:
    """A training that has succeeded."""
    return harness.wait_until_succeeded(
        harness.train(sample={"length": 20, "temperatures": [0.2, 1.0]})
    )


def test_a_training_leaves_checkpoints_progress_and_sampled_texts(
    harness: WorkerHarness, trained: Job
) -> None:
    first, last = harness.checkpoints(trained.id)
    assert trained.progress is not None
    assert trained.progress["step"] == trained.progress["steps_total"] == last.step
    assert trained.progress["val_loss"] == last.val_loss
    assert first.step * 2 == last.step
    assert first.val_loss is not None
    assert last.fingerprint["threads"] == 1
    texts = harness.texts(trained.id)
    assert [(text.step, text.position) for text in texts] == [
        (first.step, 0),
        (first.step, 1),
        (last.step, 0),
        (last.step, 1),
    ]
    assert not any(text.requested for text in texts)
    assert {text.checkpoint_id for text in texts} == {first.id, last.id}
    assert all(len(text.text) == 20 and text.prompt in some_text() for text in texts)
    assert harness.events(trained.id)[-1] == "succeeded"


def test_the_curve_is_in_the_database_while_the_training_runs(
    harness: WorkerHarness, worker: Worker
) -> None:
    job_id = harness.train(epochs=1000, keep=1000, patience=None)
    until(lambda: len(validated_points(harness, job_id)) > 1, "two validated points")
    assert harness.job(job_id).status == "running"
    harness.cancel(job_id)
    harness.wait_until_ended(job_id)
    points = harness.curve(job_id)
    for point in points:
        assert point.loss is not None
        assert 0 < point.loss < 6
        assert point.learning_rate is not None
        assert 0 < point.learning_rate <= 4e-3
        assert point.characters_per_second is not None
        assert point.characters_per_second > 0
    saved = {row.step: row.val_loss for row in harness.checkpoints(job_id) if row.val_loss}
    assert saved
    assert {point.step: point.val_loss for point in validated_points(harness, job_id)} == saved


def validated_points(harness: WorkerHarness, job_id: str) -> list[Metric]:
    """The points of a loss curve that have a validation loss."""
    return [point for point in harness.curve(job_id) if point.val_loss is not None]


def test_a_generation_stores_its_texts_with_their_seed_and_checkpoint(
    harness: WorkerHarness, trained: Job
) -> None:
    assert trained.model_id
    job = harness.wait_until_succeeded(
        harness.generate(trained.model_id, temperatures=(0.2, 1.0), n=2, seed=9)
    )
    texts = harness.texts(job.id)
    assert [(text.temperature, text.seed) for text in texts] == [
        (0.2, 9),
        (0.2, text_seed(9, 0, 1)),
        (1.0, text_seed(9, 1, 0)),
        (1.0, text_seed(9, 1, 1)),
    ]
    assert all(text.requested and len(text.text) == 40 for text in texts)
    assert {text.checkpoint_id for text in texts} == {harness.checkpoints(trained.id)[-1].id}
    alone = harness.wait_until_succeeded(
        harness.generate(trained.model_id, temperatures=(1.0,), seed=texts[3].seed)
    )
    assert harness.texts(alone.id)[0].text == texts[3].text


def test_without_a_prompt_each_text_starts_with_its_own_piece_of_the_corpus(
    harness: WorkerHarness, trained: Job
) -> None:
    assert trained.model_id
    texts = harness.texts(
        harness.wait_until_succeeded(harness.generate(trained.model_id, prompt=None, n=3)).id
    )
    assert len({text.prompt for text in texts}) == 3
    assert all(len(text.prompt) == 60 and text.prompt in some_text() for text in texts)
    again = harness.texts(
        harness.wait_until_succeeded(harness.generate(trained.model_id, prompt=None, n=3)).id
    )
    assert [text.text for text in again] == [text.text for text in texts]


def test_latest_is_resolved_when_the_job_is_claimed(harness: WorkerHarness, worker: Worker) -> None:
    training = harness.train(epochs=400)
    harness.first_checkpoint(training)
    model_id = harness.job(training).model_id
    assert model_id
    submitted_after = harness.checkpoints(training)[-1].step
    job = harness.wait_until_succeeded(harness.generate(model_id, checkpoint="latest"))
    used = {text.checkpoint_id for text in harness.texts(job.id)}
    steps = {row.step for row in harness.checkpoints(training) if row.id in used}
    assert len(steps) == 1
    assert steps.pop() >= submitted_after
    assert harness.cancel(training) == "running"
    assert harness.wait_until_ended(training).status == "cancelled"


def test_a_cancelled_training_stops_soon_and_keeps_its_checkpoints(
    harness: WorkerHarness, worker: Worker
) -> None:
    job_id = harness.train(epochs=1000)
    harness.first_checkpoint(job_id)
    harness.cancel(job_id)
    job = harness.wait_until_ended(job_id, seconds=10)
    assert job.status == "cancelled"
    assert job.progress is not None
    assert job.progress["epoch"] < 1000
    assert harness.checkpoints(job_id)


def test_a_job_whose_wake_was_lost_is_found(harness: WorkerHarness, worker: Worker) -> None:
    harness.wait_until_succeeded(harness.train(wake=False, epochs=1), seconds=30)


def test_a_job_whose_wake_was_doubled_runs_once(harness: WorkerHarness, trained: Job) -> None:
    assert trained.model_id
    job_id = harness.generate(trained.model_id)
    harness.broker.wake("generate", job_id)
    harness.broker.wake("generate", job_id)
    job = harness.wait_until_succeeded(job_id)
    # Once another job has run after them, the doubled wakes have been handled.
    harness.wait_until_succeeded(harness.generate(trained.model_id))
    assert harness.job(job_id).attempt == job.attempt == 1
    assert harness.count(job_id, "claimed") == 1
    assert len(harness.texts(job_id)) == 1


def test_the_log_of_a_run_names_the_wake_and_the_job(
    harness: WorkerHarness, worker: Worker, trained: Job
) -> None:
    lines = [line for line in worker.log.splitlines() if "run_started" in line]
    assert any(f'"wake": "{trained.id}"' in line and f'"job": "{trained.id}"' in line
               for line in lines)  # fmt: skip


def test_a_training_without_its_model_fails_with_a_reason(
    harness: WorkerHarness, worker: Worker
) -> None:
    job_id = harness.train(wake=False)
    with make_sessions(harness.engine).begin() as session:
        session.delete(session.get_one(Model, session.get_one(Job, job_id).model_id))
    harness.broker.wake("train", job_id)
    job = harness.wait_until_ended(job_id)
    assert job.status == "failed"
    assert job.error is not None
    assert job.error["type"] == "/problems/model-deleted"


def test_a_generation_before_the_first_checkpoint_fails_with_a_reason(
    harness: WorkerHarness, worker: Worker
) -> None:
    training = harness.train(wake=False, epochs=1)
    model_id = harness.job(training).model_id
    assert model_id
    harness.cancel(training)
    job = harness.wait_until_ended(harness.generate(model_id))
    assert job.error is not None
    assert job.error["type"] == "/problems/no-checkpoint"
    assert "'best'" in job.error["detail"]


def test_a_text_too_short_for_its_windows_fails_with_a_reason(
    harness: WorkerHarness, worker: Worker
) -> None:
    job = harness.wait_until_ended(harness.train("Too short."))
    assert job.error is not None
    assert job.error["type"] == "/problems/text-too-short"
    assert "10 tokens" in job.error["detail"]


def test_a_classic_training_lower_cases_and_samples_with_its_window(
    harness: WorkerHarness, worker: Worker
) -> None:
    job_id = harness.train(
        preset="classic", epochs=1, batch_size=128, sample={"length": 12, "temperatures": [0.5]}
    )
    harness.wait_until_succeeded(job_id)
    [text] = harness.texts(job_id)
    assert text.prompt == text.prompt.lower()
    assert len(text.prompt) == 16
    assert text.epoch == 1


def test_a_worker_registers_itself_and_sees_no_gpu(harness: WorkerHarness, worker: Worker) -> None:
    rows = {row.lane: row for row in harness.devices()}
    assert set(rows) == {"train", "generate"}
    for row in rows.values():
        assert row.ready_at is not None
        assert row.versions["tensorflow"].startswith("2.")
        environment = Path(f"/proc/{row.pid}/environ").read_bytes().split(b"\0")
        assert b"CUDA_VISIBLE_DEVICES=-1" in environment
    previous = rows["train"].heartbeat_at
    until(lambda: harness.devices()[1].heartbeat_at > previous, "a heartbeat", 5)
