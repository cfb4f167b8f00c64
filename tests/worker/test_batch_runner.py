"""The batch runner in this process: many jobs in one batch, each finishing by itself."""

import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from sqlalchemy import func, select, update

from shared import worker_registry
from shared.queue import Queue
from shared.tables import Job, JobEvent, Kind
from tests.worker.batch_runner import (
    ENDLESS,
    ONE_BATCH,
    WORKER,
    bare_harness,
    begin_training,
    make_batch_runner,
    make_model,
    run,
    running,
    save,
    write,
    written,
)
from tests.worker.harness import WorkerHarness, until
from worker.execution.batching.claim_pace import FULL_CLAIM_SECONDS, ClaimPace
from worker.ml.sampling import turns


@pytest.fixture
def harness(database_url: str, tmp_path: Path) -> Iterator[WorkerHarness]:
    with bare_harness(database_url, tmp_path) as harness:
        yield harness


@pytest.fixture
def model(harness: WorkerHarness) -> str:
    return make_model(harness)


def test_texts_are_the_same_alone_and_among_strangers(harness: WorkerHarness, model: str) -> None:
    other = make_model(harness, seed=1)
    requests = [
        {"seed": 9, "n": 3, "temperatures": (0.3, 1.0), "length": 150},
        {"seed": 2, "prompt": None, "top_k": 4},
        {"seed": 3, "prompt": "The", "length": 700},
        {"seed": 9, "repetition_penalty": 1.5, "temperatures": ({"from": 1.2, "to": 0.1},)},
    ]
    alone = [[text.text for text in write(harness, model, **request)] for request in requests]
    jobs = [harness.generate(model, wake=False, **request) for request in requests]
    strangers = [harness.generate(other, wake=False, seed=seed, n=9) for seed in range(6)]
    assert run(harness) == len(jobs) + len(strangers)
    for job_id, texts in zip(jobs, alone, strict=True):
        harness.wait_until_succeeded(job_id, 0)
        assert [text.text for text in harness.texts(job_id)] == texts
    assert all(harness.wait_until_succeeded(job_id, 0).attempt == 1 for job_id in strangers)


def test_short_texts_overtake_a_long_one_whose_cancel_keeps_what_is_written(
    harness: WorkerHarness, model: str
) -> None:
    long = harness.generate(model, wake=False, length=ENDLESS, n=2)
    with running(make_batch_runner(harness)):
        until(lambda: harness.job(long).status == "running", "the long text")
        # No wake is sent: the batch runner looks for jobs between two blocks.
        short = [harness.generate(model, wake=False, seed=seed, user="bob") for seed in range(5)]
        for job_id in short:
            harness.wait_until_succeeded(job_id)
        assert harness.job(long).status == "running"
        harness.cancel(long)
        assert harness.wait_until_ended(long).status == "cancelled"
    texts = harness.texts(long)
    assert [text.finish_reason for text in texts] == ["cancelled"] * 2
    assert all(0 < len(text.text) < ENDLESS and text.bits_per_char > 0 for text in texts)
    whole = write(harness, model, length=200, n=2)
    assert [text.text[:200] for text in texts] == [text.text for text in whole]


@pytest.mark.parametrize("seed", [5])
def test_a_drained_batch_runner_returns_its_jobs_and_the_next_one_writes_the_same(
    harness: WorkerHarness, model: str, seed: int
) -> None:
    expected = [text.text for text in write(harness, model, length=20_000, seed=seed)]
    job_id = harness.generate(model, wake=False, length=20_000, seed=seed)
    endless = harness.generate(model, wake=False, length=ENDLESS)
    with running(make_batch_runner(harness)):
        until(lambda: harness.job(endless).status == "running", "the start")
        worker_registry.request_drain(harness.engine, WORKER.id)
    assert harness.job(endless).status == "queued"
    assert harness.job(endless).fruitless_attempts == 0
    assert harness.texts(endless) == []
    harness.cancel(endless)
    run(harness)
    assert [
        text.text for text in harness.texts(harness.wait_until_succeeded(job_id, 0).id)
    ] == expected


def test_a_drained_text_is_written_again_with_its_first_checkpoint(harness: WorkerHarness) -> None:
    """Even though its model's training has saved a better checkpoint meanwhile."""
    training = begin_training(harness)
    save(harness, training)
    model = training.model_id
    assert model
    [expected] = write(harness, model, length=200)
    job_id = harness.generate(model, wake=False, length=ENDLESS)
    with running(make_batch_runner(harness)):
        until(lambda: harness.job(job_id).status == "running", "the start")
        worker_registry.request_drain(harness.engine, WORKER.id)
    assert harness.job(job_id).status == "queued"
    better = save(harness, training, step=2, seed=1)
    batch_runner = make_batch_runner(harness)
    with running(batch_runner):
        until(lambda: written(batch_runner, job_id) > 200, "as many tokens")
        harness.cancel(job_id)
    [text] = harness.texts(job_id)
    assert (text.checkpoint_id, text.text[:200]) == (expected.checkpoint_id, expected.text)
    [restarted] = write(harness, model)
    assert restarted.checkpoint_id == better


def test_a_busy_worker_looks_less_often_where_it_finds_nothing(
    harness: WorkerHarness, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[float] = []
    any_runnable = Queue.any_runnable

    def note_and_look(queue: Queue, kind: Kind) -> bool:
        looks.append(time.monotonic())
        return any_runnable(queue, kind)

    monkeypatch.setattr(Queue, "any_runnable", note_and_look)
    long = harness.generate(model, wake=False, length=ENDLESS)
    batch_runner = make_batch_runner(harness)
    with running(batch_runner):
        until(lambda: written(batch_runner, long) > 200, "the text")
        looks.clear()
        until(lambda: len(looks) >= 40, "looks for other jobs")
        pauses = sorted(later - one for one, later in pairwise(looks[:40]))
        harness.cancel(long)
        harness.wait_until_ended(long)
    assert pauses[len(pauses) // 2] >= 0.75 * FULL_CLAIM_SECONDS


def test_a_worker_looks_often_once_a_short_text_ran_ahead(
    harness: WorkerHarness, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "SHORT_BLOCKS_SECONDS", 1e9)
    hurries: list[bool] = []
    is_due = ClaimPace.is_due

    def note_and_ask(pace: ClaimPace, *, is_full: bool, is_hurried: bool) -> bool:
        hurries.append(is_hurried)
        return is_due(pace, is_full=is_full, is_hurried=is_hurried)

    monkeypatch.setattr(ClaimPace, "is_due", note_and_ask)
    long = harness.generate(model, wake=False, length=ENDLESS, n=3)
    batch_runner = make_batch_runner(harness)
    with running(batch_runner):
        until(lambda: written(batch_runner, long) > 200, "the long texts")
        assert hurries
        assert not any(hurries)
        short = harness.generate(model, wake=False, length=20, user="bob")
        harness.wait_until_succeeded(short)
        hurries.clear()
        until(lambda: len(hurries) > 3, "more looks")
        assert all(hurries)
        harness.cancel(long)
        harness.wait_until_ended(long)


def test_it_runs_at_most_max_jobs(harness: WorkerHarness, model: str) -> None:
    jobs = [harness.generate(model, wake=False, length=ENDLESS, seed=seed) for seed in range(4)]
    batch_runner = make_batch_runner(harness, max_jobs=2)
    with running(batch_runner):
        until(lambda: len(batch_runner._runs) == 2, "two runs")
        time.sleep(0.5)
        statuses = [harness.job(job_id).status for job_id in jobs]
        assert sorted(statuses) == ["queued", "queued", "running", "running"]
        for job_id in jobs:
            harness.cancel(job_id)


def test_it_claims_at_most_one_batch_at_once(harness: WorkerHarness, model: str) -> None:
    jobs = [harness.generate(model, wake=False, seed=seed) for seed in range(70)]
    assert run(harness) == 70
    assert all(harness.job(job_id).status == "succeeded" for job_id in jobs)
    with harness.reading() as session:
        claimed = select(func.count()).where(JobEvent.type == "claimed", JobEvent.job_id.in_(jobs))
        at_once = list(session.scalars(claimed.group_by(JobEvent.at)))
    assert sum(at_once) == 70
    assert max(at_once) == ONE_BATCH


def test_one_users_long_texts_do_not_fill_the_batch(harness: WorkerHarness, model: str) -> None:
    endless = [harness.generate(model, wake=False, length=ENDLESS, seed=seed) for seed in range(20)]
    batch_runner = make_batch_runner(harness, max_jobs=16)
    with running(batch_runner):
        until(
            lambda: sum(harness.job(job_id).status == "running" for job_id in endless) == 14,
            "fourteen running jobs",
        )
        other = harness.generate(model, wake=False, user="bob")
        assert harness.wait_until_succeeded(other, 20).attempt == 1
        assert sum(harness.job(job_id).status == "running" for job_id in endless) == 14
        for job_id in endless:
            with harness.engine.begin() as connection:
                harness.queue.cancel(connection, job_id)


def test_a_text_of_another_user_overtakes_a_thousand_queued_ones(
    harness: WorkerHarness, model: str
) -> None:
    flood = [
        harness.generate(model, wake=False, user="flood", length=300, seed=seed)
        for seed in range(1000)
    ]
    with running(make_batch_runner(harness, max_jobs=128)):
        until(lambda: harness.job(flood[0]).status == "succeeded", "the first texts")
        light = harness.generate(model, wake=False, user="light", length=300)
        harness.wait_until_succeeded(light)
        with harness.engine.connect() as connection:
            query = select(func.count()).where(Job.status == "queued")
            left = connection.scalar(query) or 0
        worker_registry.request_drain(harness.engine, WORKER.id)
    # Far fewer than all were written meanwhile: those already claimed, and some more.
    assert left > 500


def test_a_job_marked_alone_shares_its_batch_with_nobody(
    harness: WorkerHarness, model: str
) -> None:
    jobs = [harness.generate(model, wake=False, length=2_000, seed=seed) for seed in range(4)]
    with harness.engine.begin() as connection:
        connection.execute(update(Job).where(Job.id == sorted(jobs)[1]).values(alone=True))
    assert run(harness) == 4
    spans = sorted(
        ((job.claimed_at, job.finished_at, job.alone) for job in map(harness.job, jobs)),
        key=lambda span: span[0],
    )
    at = next(i for i, span in enumerate(spans) if span[2])
    assert all(before[1] <= spans[at][0] for before in spans[:at])
    assert all(after[0] >= spans[at][1] for after in spans[at + 1 :])
