"""A training whose checkpoints, texts and reports are written by another thread, as on a GPU."""

import random
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from shared.specs.training import SampleSpec
from shared.tables import Checkpoint, GeneratedText, Job
from shared.worker_registry import WorkerInfo
from tests.worker.harness import THREADS, WorkerHarness, make_harness, until
from worker.data.corpora import Corpora
from worker.execution.heartbeat import Heartbeat
from worker.execution.runner import Runner
from worker.handlers.train import Train
from worker.handlers.training_run import TrainingRun
from worker.ml.training.progress import RolledBack

UNREACHABLE_REDIS = "redis://127.0.0.1:1/0"
WORKER = WorkerInfo("here", "cpu", "train", 1, {})
SAMPLE = SampleSpec(length=30, temperatures=[0.5, 1.0], every_steps=40).model_dump()
COINS = "".join(random.Random(7).choices("ab", k=6000))
#: Without anything that limits its steps, the loss explodes.
EXPLODING: dict[str, Any] = {
    "units": 256,
    "learning_rate": 1.0,
    "optimizer": "rmsprop",
    "schedule": "constant",
    "clip_norm": None,
    "average_decay": None,
    "rollbacks": 3,
    "patience": None,
}


@pytest.fixture
def harness(sqlite_url: str, tmp_path: Path) -> Iterator[WorkerHarness]:
    harness = make_harness(sqlite_url, UNREACHABLE_REDIS, tmp_path)
    yield harness
    harness.engine.dispose()


def run(harness: WorkerHarness, *, aside: bool) -> None:
    """Run all trainings that may start, in this process."""
    queue, heartbeat = harness.queue, Heartbeat(harness.queue, WORKER)
    heartbeat.start()
    try:
        train = Train(queue, Corpora(harness.engine), "cpu", THREADS, aside=aside)
        Runner(queue, heartbeat, WORKER, {"train": train}).run_all(wake="a wake")
    finally:
        heartbeat.stop()


def resume(harness: WorkerHarness, job_id: str) -> None:
    with harness.engine.begin() as connection:
        harness.queue.resume(connection, job_id)


def stored(harness: WorkerHarness, job_id: str) -> dict[str, Any]:
    """What a training has stored that doesn't depend on time."""
    checkpoints = harness.checkpoints(job_id)
    steps = {row.id: row.step for row in checkpoints}
    return {
        "status": harness.job(job_id).status,
        "checkpoints": [(row.step, row.val_loss, row.digest) for row in checkpoints],
        "texts": [
            (
                row.step,
                row.position,
                row.epoch,
                row.seed,
                row.prompt,
                row.text,
                steps.get(row.checkpoint_id or ""),
            )
            for row in harness.texts(job_id)
        ],
        "judged": [
            (row.step, row.loss, row.val_loss, row.piece_losses)
            for row in harness.curve(job_id)
            if row.val_loss is not None
        ],
        "history": [kind for kind in harness.events(job_id) if kind != "metrics"],
    }


def train_both_ways(harness: WorkerHarness, **changes: Any) -> tuple[dict[str, Any], ...]:
    found = []
    for aside in (False, True):
        job_id = harness.train(wake=False, **changes)
        run(harness, aside=aside)
        found.append(stored(harness, job_id))
    return tuple(found)


def test_it_stores_the_same_checkpoints_texts_and_losses(harness: WorkerHarness) -> None:
    inline, aside = train_both_ways(harness, epochs=4, sample=SAMPLE)
    assert inline["status"] == "succeeded"
    assert inline["checkpoints"]
    assert len(inline["judged"]) == 4
    # Between the ends of epochs, without a checkpoint to cite, and at the end.
    assert [(step, cites) for step, *_, cites in inline["texts"][1::2]] == [
        (40, None),
        (80, None),
        (120, None),
        (148, 148),
    ]
    assert aside == inline


def test_it_rolls_back_to_a_checkpoint_that_was_on_its_way(harness: WorkerHarness) -> None:
    inline, aside = train_both_ways(
        harness,
        epochs=12,
        sample=SampleSpec(length=10, temperatures=[1.0]).model_dump(),
        **EXPLODING,
    )
    assert "rolled_back" in inline["history"]
    assert aside == inline


def test_a_paused_training_ends_with_the_same_digest(harness: WorkerHarness) -> None:
    # Texts are written nearly always, so that the pause comes while some are.
    sample = SampleSpec(length=3000, temperatures=[0.5, 1.0], every_steps=30).model_dump()
    expected, job_id = (harness.train(wake=False, epochs=12, sample=sample) for _ in range(2))
    harness.pause(job_id)
    run(harness, aside=False)
    resume(harness, job_id)
    running = threading.Thread(target=run, args=(harness,), kwargs={"aside": True})
    running.start()
    until(lambda: len(harness.checkpoints(job_id)) > 1, "checkpoints")
    harness.pause(job_id)
    running.join(60)
    assert harness.job(job_id).status == "paused"
    paused_at = harness.checkpoints(job_id)[-1].step
    resume(harness, job_id)
    run(harness, aside=True)
    whole, pieced = stored(harness, expected), stored(harness, job_id)
    assert paused_at < whole["checkpoints"][-1][0]
    assert pieced["checkpoints"][-1] == whole["checkpoints"][-1]
    assert pieced["texts"] == whole["texts"]
    assert pieced["judged"] == whole["judged"]


@pytest.mark.parametrize("aside", [False, True])
def test_a_pause_at_a_rollback_of_the_last_step_waits_for_its_validation(
    harness: WorkerHarness, monkeypatch: pytest.MonkeyPatch, aside: bool
) -> None:
    sample = SampleSpec(length=10, temperatures=[1.0]).model_dump()
    # Two steps: the second is the first whose loss can explode.
    job_id = harness.train(COINS, wake=False, batch_size=200, epochs=1, sample=sample, **EXPLODING)
    roll_back = TrainingRun._on_rolled_back

    def pause_first(self: TrainingRun, event: RolledBack) -> None:
        harness.pause(job_id)
        until(lambda: self._lease.must_save, "the request")
        roll_back(self, event)

    monkeypatch.setattr(TrainingRun, "_on_rolled_back", pause_first)
    run(harness, aside=aside)
    assert harness.job(job_id).status == "paused"
    resume(harness, job_id)
    run(harness, aside=aside)
    assert harness.job(job_id).status == "succeeded"
    [checkpoint] = harness.checkpoints(job_id)
    assert checkpoint.step == 2
    assert checkpoint.val_loss is not None
    assert [text.step for text in harness.texts(job_id)] == [2]


def test_nothing_is_stored_once_another_attempt_has_the_job(harness: WorkerHarness) -> None:
    job_id = harness.train(wake=False, epochs=2000, sample=SAMPLE)
    running = threading.Thread(target=run, args=(harness,), kwargs={"aside": True})
    running.start()
    harness.first_checkpoint(job_id)
    with harness.engine.begin() as connection:
        connection.execute(update(Job).where(Job.id == job_id).values(attempt=2))
        of_job = Checkpoint.job_id == job_id
        before = connection.scalars(select(Checkpoint.id).where(of_job)).all()
        texts = select(GeneratedText.id).where(GeneratedText.job_id == job_id)
        texts_before = connection.scalars(texts).all()
    running.join(60)
    assert not running.is_alive()
    assert [row.id for row in harness.checkpoints(job_id)] == before
    assert sorted(row.id for row in harness.texts(job_id)) == sorted(texts_before)
    assert harness.job(job_id).status == "running"
