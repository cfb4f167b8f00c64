"""The events that real workers publish agree with the rows that they leave."""

import time
from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any

import pytest
import redis

from shared import job_listeners
from shared.broker import redis_url
from shared.job_ends import EndWaiter, JobEndListener
from shared.job_events import BEGINNING, Entry, EventReader, sort_key
from shared.queue.types import JobEnd, StoredText
from shared.tables import Job
from tests.worker.harness import Worker, WorkerHarness, until
from worker.execution.batching.batch_runner import FEW_RUNS

LONG = 3_000
#: By then a worker has looked for listeners several times.
LOOKED_SECONDS = 0.5


@pytest.fixture(scope="module")
def worker(harness: WorkerHarness) -> Iterator[Worker]:
    with harness.worker() as worker:
        yield worker


@pytest.fixture(scope="module")
def listener(harness: WorkerHarness) -> EventReader:
    return EventReader(harness.environment["REDIS_URL"], 4, 1.0)


@pytest.fixture(scope="module")
def write(harness: WorkerHarness, listener: EventReader) -> Callable[..., Job]:
    """Have a text written while somebody listens."""

    def write(model: str, **fields: Any) -> Job:
        job_id = harness.generate(model, wake=False, **fields)
        listener.announce(job_id)
        harness.broker.wake("generate", job_id)
        return harness.wait_until_succeeded(job_id)

    return write


def published(listener: EventReader, job_id: str) -> list[Entry]:
    """All events of a job, in order, once its end has been published."""

    def complete() -> list[Entry]:
        entries = listener.read_all(job_id)
        # The begin of a run is not published to those who come later.
        states = [e for e in entries if e.kind == "state" and not e.data.get("begins")]
        return entries if states else []

    entries = until(complete, "the event of the job's end")
    assert [entry.id for entry in entries] == sorted((e.id for e in entries), key=sort_key)
    return entries


def joined(entries: list[Entry], position: int) -> str:
    """A text joined from its pieces, which must have no gaps or repeats."""
    text = ""
    for entry in entries:
        if entry.kind == "piece" and entry.data["position"] == position:
            assert entry.data["offset"] == len(text)
            assert ("prompt" in entry.data) == (text == "")
            text += entry.data["text"]
    return text


@pytest.fixture(scope="module")
def model(harness: WorkerHarness, worker: Worker) -> str:
    training = harness.wait_until_succeeded(harness.train())
    assert training.model_id
    return training.model_id


def test_a_training_publishes_its_curve_and_its_texts(
    harness: WorkerHarness, worker: Worker, listener: EventReader
) -> None:
    job = harness.wait_until_succeeded(harness.train(sample={"length": 20, "temperatures": [0.5]}))
    entries = published(listener, job.id)
    assert {entry.kind for entry in entries} == {"state", "metrics", "texts"}
    validated = [
        entry.data for entry in entries if entry.kind == "metrics" and entry.data["judged"]
    ]
    assert job.progress is not None
    assert validated[-1]["step"] == job.progress["step"]
    assert validated[-1]["val_loss"] == job.progress["val_loss"]
    steps = [entry.data["step"] for entry in entries if entry.kind == "texts"]
    assert steps == sorted({text.step for text in harness.texts(job.id)})


def test_a_text_is_published_piece_by_piece(
    harness: WorkerHarness, listener: EventReader, model: str, write: Callable[..., Job]
) -> None:
    job = write(model, length=LONG, temperatures=(0.5, 1.0))
    entries = published(listener, job.id)
    for text in harness.texts(job.id):
        received = joined(entries, text.position)
        assert len(received) > 100
        assert text.text.startswith(received)


def test_nothing_past_a_stop_string_is_published(
    harness: WorkerHarness, listener: EventReader, model: str, write: Callable[..., Job]
) -> None:
    [whole] = harness.texts(write(model, length=LONG, temperatures=(1.0,), seed=5).id)
    stop = whole.text[1_500:1_508]
    job = write(model, length=LONG, temperatures=(1.0,), seed=5, stop=[stop])
    [text] = harness.texts(job.id)
    assert text.finish_reason == "stop"
    assert text.text == whole.text[: whole.text.index(stop)]
    received = joined(published(listener, job.id), 0)
    assert 0 < len(received) <= len(text.text)
    assert text.text.startswith(received)


@pytest.fixture
def crowd(harness: WorkerHarness, worker: Worker, model: str) -> Iterator[None]:
    """Keep the worker so busy that it publishes pieces only where somebody listens."""
    endless = [
        harness.generate(model, length=1_000_000, seed=seed, user="crowd")
        for seed in range(FEW_RUNS)
    ]
    until(lambda: all(harness.job(each).status == "running" for each in endless), "the crowd")
    yield
    for job_id in endless:
        harness.cancel(job_id)
        harness.wait_until_ended(job_id)


@pytest.mark.usefixtures("crowd")
def test_in_a_crowd_nothing_of_a_text_is_published_if_nobody_listens(
    harness: WorkerHarness, listener: EventReader, model: str
) -> None:
    job = harness.wait_until_succeeded(harness.generate(model, length=LONG))
    # Whoever asks now has all of it in the rows.
    assert listener.last_id(job.id) == BEGINNING


def test_alone_the_pieces_of_a_text_wait_for_their_listener(
    harness: WorkerHarness, listener: EventReader, model: str
) -> None:
    """It comes a moment after its job has begun, and finds the first characters there."""
    job = harness.wait_until_succeeded(harness.generate(model, length=LONG))
    received = joined(listener.read_all(job.id), 0)
    assert len(received) > 100
    assert harness.texts(job.id)[0].text.startswith(received)


@pytest.mark.usefixtures("crowd")
def test_listeners_that_come_and_go_get_a_text_without_gap_or_repeat(
    harness: WorkerHarness, listener: EventReader, model: str
) -> None:
    job_id = harness.generate(model, length=1_000_000, seed=9)
    until(lambda: harness.job(job_id).status == "running", "the start")
    time.sleep(LOOKED_SECONDS)
    assert listener.last_id(job_id) == BEGINNING
    with redis.Redis.from_url(redis_url(harness.environment["REDIS_URL"])) as server:
        for _ in range(2):
            before = listener.last_id(job_id)
            listener.announce(job_id)
            until(lambda last=before: listener.last_id(job_id) != last, "pieces")
            server.zrem(job_listeners.KEY, job_id)  # as the end of an announcement
            time.sleep(LOOKED_SECONDS)
            stopped_at = listener.last_id(job_id)
            time.sleep(LOOKED_SECONDS)
            assert listener.last_id(job_id) == stopped_at
        server.delete(job_listeners.KEY)
        listener.announce(job_id)
        until(lambda: listener.last_id(job_id) != stopped_at, "pieces")
    harness.cancel(job_id)
    assert harness.wait_until_ended(job_id).status == "cancelled"
    [text] = harness.texts(job_id)
    received = joined(published(listener, job_id), 0)
    assert len(received) > 100
    assert text.text.startswith(received)


@pytest.fixture(scope="module")
def ends(harness: WorkerHarness) -> JobEndListener:
    return JobEndListener(harness.environment["REDIS_URL"])


def expected_end(ends: JobEndListener, job_id: str) -> EndWaiter:
    waiter = ends.expect(job_id)
    until(lambda: ends.is_listening, "the listener")
    return waiter


def heard(waiter: EndWaiter) -> JobEnd:
    def look() -> JobEnd | None:
        waiter.wait(0.05)
        return waiter.end

    return until(look, "an end")


def test_the_end_of_a_generation_carries_its_texts_as_they_are_stored(
    harness: WorkerHarness, worker: Worker, ends: JobEndListener, model: str
) -> None:
    job_id = harness.generate(model, wake=False, temperatures=(0.5, 1.0), logprobs=True)
    waiter = expected_end(ends, job_id)
    harness.broker.wake("generate", job_id)
    end = heard(waiter)
    assert (end.job_id, end.attempt) == (job_id, 1)
    assert end.texts is not None
    assert harness.job(job_id).status == "succeeded", "an end is published after its commit"
    names = [field.name for field in fields(StoredText)]
    stored = [[getattr(text, name) for name in names] for text in harness.texts(job_id)]
    assert [[getattr(text, name) for name in names] for text in end.texts] == stored


def test_the_ends_of_other_runs_are_published_without_texts(
    harness: WorkerHarness, worker: Worker, ends: JobEndListener, model: str
) -> None:
    invalid = harness.generate(model, wake=False, prompt="The €")
    endless = harness.generate(model, wake=False, length=1_000_000)
    training = harness.train(wake=False, epochs=1)
    waiters = {job_id: expected_end(ends, job_id) for job_id in (invalid, endless, training)}
    harness.broker.wake("train", training)
    harness.broker.wake("generate", invalid)
    assert heard(waiters[invalid]) == JobEnd(invalid, 1)
    until(lambda: harness.job(endless).status == "running", "the start")
    harness.cancel(endless)
    assert heard(waiters[endless]) == JobEnd(endless, 1)
    assert heard(waiters[training]) == JobEnd(training, 1)
    for job_id, status in ((invalid, "failed"), (endless, "cancelled"), (training, "succeeded")):
        assert harness.job(job_id).status == status
