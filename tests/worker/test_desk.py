"""The `generate` lane in this process: many jobs in one batch, each with an end of its own."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import exc, update

from shared import blobs, devices
from shared.devices import WorkerSelf, show
from shared.queue import Queue
from shared.records import CheckpointRecord
from shared.settings import Settings
from shared.tables import Job
from tests.worker.world import World, make_world, some_text, until
from worker.corpora import Corpora
from worker.desk import Desk
from worker.generate import Generate
from worker.ml.checkpoint import Checkpoint, digest, pack
from worker.ml.config import NetworkConfig
from worker.ml.engine import Engine
from worker.ml.model import initial_weights
from worker.pulse import Pulse
from worker.samplers import Samplers

NOWHERE = "redis://127.0.0.1:1/0"
ME = WorkerSelf("here", "cpu", "generate", 1, {})
CHARACTERS = "".join(sorted(set(some_text())))
#: So long that a test surely does something before its end, and is cancelled or drained after it.
ENDLESS = 1_000_000


@pytest.fixture
def world(database_url: str, tmp_path: Path) -> Iterator[World]:
    world = make_world(database_url, NOWHERE, tmp_path)
    yield world
    world.engine.dispose()


@pytest.fixture
def model(world: World) -> str:
    return make_model(world)


def make_model(world: World, seed: int = 0) -> str:
    """A model with one checkpoint of an untrained network; its id."""
    job_id = world.train(wake=False)
    [claim] = world.queue.claim("train", "here/cpu/train")
    assert claim.job_id == job_id
    network = NetworkConfig(len(CHARACTERS), embedding=8, units=16, layers=1, window=None)
    weights = {name: array * 3 for name, array in initial_weights(network, seed).items()}
    state = Checkpoint(weights, {}, network, CHARACTERS, lowercase=False, meta={})
    data = pack(state)
    sha256 = blobs.store(world.engine, data)
    record = CheckpointRecord(1, 1.0, 1.0, 1.0, digest(state), sha256, len(data))
    world.queue.record_checkpoint(claim, record)
    world.queue.succeed(claim)
    return claim.model_id


def make_desk(world: World, queue: Queue | None = None, *, most_jobs: int = 100) -> Desk:
    queue = queue or world.queue
    show(world.engine, ME, ready=True)
    generate = Generate(queue, Corpora(world.engine), Samplers(world.engine, "cpu", 10**8))
    pulse = Pulse(queue, ME)
    pulse.start()
    return Desk(queue, pulse, ME, generate, Engine(2), room=64, most_jobs=most_jobs)


@contextmanager
def at_work(desk: Desk) -> Iterator[threading.Thread]:
    """A desk that runs beside the test, until nothing is left."""
    thread = threading.Thread(target=desk.run_all, args=("a wake",))
    thread.start()
    yield thread
    thread.join(60)
    assert not thread.is_alive()
    desk._pulse.stop()


def run(world: World) -> int:
    """Let a desk run all there is; how many jobs it ran."""
    desk = make_desk(world)
    count = desk.run_all("a wake")
    desk._pulse.stop()
    return count


def write(world: World, model: str, **asked: Any) -> list[Any]:
    """The texts of one job, run alone."""
    job_id = world.generate(model, wake=False, **asked)
    run(world)
    world.succeeded(job_id, 0)
    return world.texts(job_id)


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
    with at_work(make_desk(world)):
        until(lambda: world.job(long).status == "running", "the long one")
        # Nobody wakes the desk: it looks between two blocks.
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
    with at_work(make_desk(world)):
        until(lambda: world.job(endless).status == "running", "the start")
        devices.request_drain(world.engine, ME.id)
    assert world.job(endless).status == "queued"
    assert world.job(endless).fruitless_attempts == 0
    assert world.texts(endless) == []
    world.cancel(endless)
    run(world)
    assert [text.text for text in world.texts(world.succeeded(job_id, 0).id)] == expected


def test_a_job_that_can_not_be_written_fails_alone(world: World, model: str) -> None:
    good = [world.generate(model, wake=False, seed=seed) for seed in range(3)]
    strange = world.generate(model, wake=False, prompt="The €")
    gone = world.generate(make_model(world, 3), wake=False)
    with world.engine.begin() as connection:
        connection.execute(update(Job).where(Job.id == gone).values(model_id=None))
    nothing = world.generate(model, wake=False, checkpoint="0190a5da-ac96-774b-bcce-b302099a8057")
    assert run(world) == 6
    for job_id in good:
        world.succeeded(job_id, 0)
    for job_id, slug in (
        (strange, "unknown-character"),
        (gone, "model-deleted"),
        (nothing, "no-checkpoint"),
    ):
        job = world.job(job_id)
        assert job.status == "failed"
        assert job.error is not None
        assert job.error["type"] == f"/problems/{slug}"


def test_a_stream_that_breaks_fails_its_job_alone(
    world: World, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, bad = (world.generate(model, wake=False, seed=seed) for seed in (1, 2))
    desk = make_desk(world)
    admit = desk._engine.admit

    def broken(stream: Any, *arguments: Any, **named: Any) -> None:
        if stream.draft.seed == 2:
            stream.state = stream.state[..., :3]
        admit(stream, *arguments, **named)

    monkeypatch.setattr(desk._engine, "admit", broken)
    desk.run_all("a wake")
    desk._pulse.stop()
    world.succeeded(good, 0)
    error = world.job(bad).error
    assert error is not None
    assert error["type"] == "/problems/unexpected-error"


def test_a_lost_lease_harms_no_mate(world: World, model: str) -> None:
    lost, mate = (world.generate(model, wake=False, length=ENDLESS, seed=s) for s in (1, 2))
    desk = make_desk(world)
    with at_work(desk):
        until(lambda: world.job(mate).status == "running", "both")
        with world.engine.begin() as connection:
            passed = world.queue.clock(connection) - timedelta(seconds=1)
            connection.execute(update(Job).where(Job.id == lost).values(lease_expires_at=passed))
            # A rescue and another worker's claim, in one moment.
            connection.execute(update(Job).where(Job.id == lost).values(attempt=2))
        until(lambda: lost not in desk._runs, "the end of the lost run", 10)
        time.sleep(2.5)  # longer than a lease: the mate's was renewed
        assert world.job(mate).status == "running"
        world.cancel(mate)
        assert world.ended(mate).status == "cancelled"
    job = world.job(lost)
    assert (job.status, job.attempt) == ("running", 2)
    assert world.texts(lost) == []
    assert world.texts(mate)


def test_an_end_that_can_not_be_written_fails_alone(
    world: World, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = [world.generate(model, wake=False, seed=seed) for seed in range(3)]
    bad = world.generate(model, wake=False, seed=3)
    finish, sizes = world.queue.finish, []

    def picky(outcomes: Any, **named: Any) -> Any:
        sizes.append(len(outcomes))
        if any(claim.job_id == bad for claim, _ in outcomes):
            raise exc.DataError("INSERT", {}, Exception("a text that no database takes"))
        return finish(outcomes, **named)

    monkeypatch.setattr(world.queue, "finish", picky)
    run(world)
    assert max(sizes) == 4, "all that ended together are written together"
    for job_id in good:
        world.succeeded(job_id, 0)
    assert world.job(bad).status == "failed"


def test_an_end_waits_for_a_database_that_comes_back(
    world: World, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = world.generate(model, wake=False)
    finish, tries = world.queue.finish, []

    def sometimes(*arguments: Any, **named: Any) -> Any:
        tries.append(arguments)
        if len(tries) == 1:
            raise exc.OperationalError("UPDATE", {}, Exception("the database is starting up"))
        return finish(*arguments, **named)

    monkeypatch.setattr(world.queue, "finish", sometimes)
    run(world)
    world.succeeded(job_id, 0)


def test_a_claim_without_a_database_is_no_error(
    world: World, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.generate(model, wake=False)

    def away(*_: object, **__: object) -> None:
        raise exc.OperationalError("SELECT", {}, Exception("no route to host"))

    monkeypatch.setattr(world.queue, "claim", away)
    assert run(world) == 0


def test_a_fault_of_the_desk_lets_go_of_every_lease(
    world: World, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = world.generate(model, wake=False)
    desk = make_desk(world)

    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(desk._engine, "step", fail)
    with pytest.raises(ZeroDivisionError):
        desk.run_all("a wake")
    assert world.job(job_id).status == "running"
    until(lambda: [rescue.job_id for rescue in world.queue.rescue()] == [job_id], "the rescue", 10)
    desk._pulse.stop()
    run(world)
    assert world.succeeded(job_id, 0).attempt == 2


def test_it_holds_no_more_jobs_than_it_may(world: World, model: str) -> None:
    jobs = [world.generate(model, wake=False, length=ENDLESS, seed=seed) for seed in range(4)]
    desk = make_desk(world, most_jobs=2)
    with at_work(desk):
        until(lambda: len(desk._runs) == 2, "two runs")
        time.sleep(0.5)
        statuses = [world.job(job_id).status for job_id in jobs]
        assert sorted(statuses) == ["queued", "queued", "running", "running"]
        for job_id in jobs:
            world.cancel(job_id)


# What a text tells.


def test_a_text_ends_before_its_stop_string(world: World, model: str) -> None:
    [whole] = write(world, model, length=600, temperatures=(1.0,), logprobs=True)
    stop = whole.text[300:303]
    at = whole.text.find(stop)
    stops = ["§", whole.text[500:520], stop]
    [text] = write(world, model, length=600, temperatures=(1.0,), stop=stops, logprobs=True)
    assert text.text == whole.text[:at]
    assert text.finish_reason == "stop"
    assert whole.finish_reason == "length"
    assert text.logprobs == whole.logprobs[:at]
    first = write(world, model, length=50, temperatures=(1.0,), stop=[whole.text[0]])[0]
    assert (first.text, first.finish_reason, first.bits_per_char) == ("", "stop", None)


def test_a_score_is_the_mean_of_what_its_characters_are_worth(world: World, model: str) -> None:
    [written] = write(world, model, prompt="The", length=50, temperatures=(1.0,), logprobs=True)
    whole = "The" + written.text
    asked = {"prompt": whole, "length": 0, "score": True, "temperatures": (1.0,), "logprobs": True}
    [scored] = write(world, model, **asked)
    assert (scored.prompt, scored.text, scored.finish_reason) == (whole, "", "scored")
    assert len(scored.logprobs) == len(whole) - 1
    assert scored.logprobs[2:] == pytest.approx(written.logprobs, abs=1e-4)
    nats = sum(scored.logprobs) / len(scored.logprobs)
    assert scored.mean_logprob == pytest.approx(nats, abs=1e-4)
    assert scored.bits_per_char == pytest.approx(-nats / 0.693147, rel=1e-3)
    [nothing] = write(world, model, **{**asked, "prompt": "T"})
    assert (nothing.bits_per_char, nothing.mean_logprob, nothing.logprobs) == (None, None, [])


def test_a_text_tells_how_it_was_drawn(world: World, model: str) -> None:
    temperatures = ({"from": 1.2, "to": 0.4}, 0.7)
    first, second = write(
        world, model, temperatures=temperatures, repetition_penalty=1.2, echo=True
    )
    assert (first.temperature, first.temperature_to) == (1.2, 0.4)
    assert (second.temperature, second.temperature_to) == (0.7, None)
    assert (first.repetition_penalty, first.echo, first.logprobs) == (1.2, True, None)
    assert first.mean_logprob < 0 < first.bits_per_char


def test_a_worker_with_another_lease_hears_of_its_own_jobs_alone(world: World, model: str) -> None:
    mine = [world.generate(model, wake=False, seed=seed) for seed in range(3)]
    claims = world.queue.claim("generate", ME.id, limit=3)
    assert {claim.job_id for claim in claims} == set(mine)
    elsewhere = Queue(world.engine, Settings(lease_seconds=60))
    with world.engine.begin() as connection:
        connection.execute(update(Job).where(Job.id == mine[0]).values(attempt=7))
    world.cancel(mine[1])
    orders = elsewhere.heartbeats(claims)
    assert {job_id: order.cancel for job_id, order in orders.items()} == {
        mine[1]: True,
        mine[2]: False,
    }
    time.sleep(2.2)  # the lease of the first
    assert [rescue.job_id for rescue in world.queue.rescue()] == [mine[0]]


def test_one_user_s_long_texts_do_not_fill_a_desk(world: World, model: str) -> None:
    endless = [world.generate(model, wake=False, length=ENDLESS, seed=seed) for seed in range(20)]
    desk = make_desk(world, most_jobs=16)
    with at_work(desk):
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
