"""The `generate` lane in this process: many jobs in one batch, each with an end of its own."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import update

from shared import worker_registry
from shared.tables import Job
from tests.worker.batch_runner import (
    ENDLESS,
    ME,
    at_work,
    bare_world,
    begin_training,
    make_batch_runner,
    make_model,
    run,
    save,
    write,
    written,
)
from tests.worker.harness import World, until


@pytest.fixture
def world(database_url: str, tmp_path: Path) -> Iterator[World]:
    with bare_world(database_url, tmp_path) as world:
        yield world


@pytest.fixture
def model(world: World) -> str:
    return make_model(world)


def test_texts_are_the_same_alone_and_among_strangers(world: World, model: str) -> None:
    other = make_model(world, seed=1)
    asked = [
        {"seed": 9, "n": 3, "temperatures": (0.3, 1.0), "length": 150},
        {"seed": 2, "prompt": None, "top_k": 4},
        {"seed": 3, "prompt": "The", "length": 700},
        {"seed": 9, "repetition_penalty": 1.5, "temperatures": ({"from": 1.2, "to": 0.1},)},
    ]
    alone = [[text.text for text in write(world, model, **each)] for each in asked]
    jobs = [world.generate(model, wake=False, **each) for each in asked]
    strangers = [world.generate(other, wake=False, seed=seed, n=9) for seed in range(6)]
    assert run(world) == len(jobs) + len(strangers)
    for job_id, texts in zip(jobs, alone, strict=True):
        world.succeeded(job_id, 0)
        assert [text.text for text in world.texts(job_id)] == texts
    assert all(world.succeeded(job_id, 0).attempt == 1 for job_id in strangers)


def test_short_texts_do_not_wait_for_a_long_one_whose_cancel_keeps_what_was_written(
    world: World, model: str
) -> None:
    long = world.generate(model, wake=False, length=ENDLESS, n=2)
    with at_work(make_batch_runner(world)):
        until(lambda: world.job(long).status == "running", "the long one")
        # Nobody wakes the batch_runner: it looks between two blocks.
        short = [world.generate(model, wake=False, seed=seed, user="bob") for seed in range(5)]
        for job_id in short:
            world.succeeded(job_id)
        assert world.job(long).status == "running"
        world.cancel(long)
        assert world.ended(long).status == "cancelled"
    texts = world.texts(long)
    assert [text.finish_reason for text in texts] == ["cancelled"] * 2
    assert all(0 < len(text.text) < ENDLESS and text.bits_per_char > 0 for text in texts)
    whole = write(world, model, length=200, n=2)
    assert [text.text[:200] for text in texts] == [text.text for text in whole]


@pytest.mark.parametrize("seed", [5])
def test_a_drained_desk_gives_its_jobs_back_and_the_next_writes_the_same(
    world: World, model: str, seed: int
) -> None:
    expected = [text.text for text in write(world, model, length=20_000, seed=seed)]
    job_id = world.generate(model, wake=False, length=20_000, seed=seed)
    endless = world.generate(model, wake=False, length=ENDLESS)
    with at_work(make_batch_runner(world)):
        until(lambda: world.job(endless).status == "running", "the start")
        worker_registry.request_drain(world.engine, ME.id)
    assert world.job(endless).status == "queued"
    assert world.job(endless).fruitless_attempts == 0
    assert world.texts(endless) == []
    world.cancel(endless)
    run(world)
    assert [text.text for text in world.texts(world.succeeded(job_id, 0).id)] == expected


def test_a_drained_text_is_written_anew_with_what_it_began_with(world: World) -> None:
    """Although its model's training has saved a better checkpoint meanwhile."""
    training = begin_training(world)
    save(world, training)
    model = training.model_id
    assert model
    [expected] = write(world, model, length=200)
    job_id = world.generate(model, wake=False, length=ENDLESS)
    with at_work(make_batch_runner(world)):
        until(lambda: world.job(job_id).status == "running", "the start")
        worker_registry.request_drain(world.engine, ME.id)
    assert world.job(job_id).status == "queued"
    better = save(world, training, step=2, seed=1)
    batch_runner = make_batch_runner(world)
    with at_work(batch_runner):
        until(lambda: written(batch_runner, job_id) > 200, "as much")
        world.cancel(job_id)
    [text] = world.texts(job_id)
    assert (text.checkpoint_id, text.text[:200]) == (expected.checkpoint_id, expected.text)
    [anew] = write(world, model)
    assert anew.checkpoint_id == better


def test_it_holds_no_more_jobs_than_it_may(world: World, model: str) -> None:
    jobs = [world.generate(model, wake=False, length=ENDLESS, seed=seed) for seed in range(4)]
    batch_runner = make_batch_runner(world, most_jobs=2)
    with at_work(batch_runner):
        until(lambda: len(batch_runner._runs) == 2, "two runs")
        time.sleep(0.5)
        statuses = [world.job(job_id).status for job_id in jobs]
        assert sorted(statuses) == ["queued", "queued", "running", "running"]
        for job_id in jobs:
            world.cancel(job_id)


def test_one_user_s_long_texts_do_not_fill_a_desk(world: World, model: str) -> None:
    endless = [world.generate(model, wake=False, length=ENDLESS, seed=seed) for seed in range(20)]
    batch_runner = make_batch_runner(world, most_jobs=16)
    with at_work(batch_runner):
        until(lambda: sum(world.job(one).status == "running" for one in endless) == 14, "a crowd")
        other = world.generate(model, wake=False, user="bob")
        assert world.succeeded(other, 20).attempt == 1
        assert sum(world.job(one).status == "running" for one in endless) == 14
        for one in endless:
            with world.engine.begin() as connection:
                world.queue.cancel(connection, one)


def test_one_that_runs_alone_has_the_desk_for_itself(world: World, model: str) -> None:
    jobs = [world.generate(model, wake=False, length=2_000, seed=seed) for seed in range(4)]
    with world.engine.begin() as connection:
        connection.execute(update(Job).where(Job.id == sorted(jobs)[1]).values(alone=True))
    assert run(world) == 4
    spans = sorted(
        ((job.claimed_at, job.finished_at, job.alone) for job in map(world.job, jobs)),
        key=lambda span: span[0],
    )
    at = next(i for i, span in enumerate(spans) if span[2])
    assert all(before[1] <= spans[at][0] for before in spans[:at])
    assert all(after[0] >= spans[at][1] for after in spans[at + 1 :])
