"""The events that real workers publish agree with the rows that they leave."""

from collections.abc import Iterator

import pytest

from shared.job_events import Entry, EventReader, sort_key
from tests.worker.harness import Worker, WorkerHarness, until

LONG = 3_000


@pytest.fixture(scope="module")
def worker(harness: WorkerHarness) -> Iterator[Worker]:
    with harness.worker() as worker:
        yield worker


@pytest.fixture(scope="module")
def listener(harness: WorkerHarness) -> EventReader:
    return EventReader(harness.environment["REDIS_URL"], 4, 1.0)


def published(listener: EventReader, job_id: str) -> list[Entry]:
    """All events of a job, in sort_key, once its end has been published."""

    def complete() -> list[Entry]:
        entries = listener.read_all(job_id)
        states = [entry for entry in entries if entry.kind == "state"]
        return entries if len(states) > 1 else []

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
    harness: WorkerHarness, worker: Worker, listener: EventReader, model: str
) -> None:
    job = harness.wait_until_succeeded(
        harness.generate(model, length=LONG, temperatures=[0.5, 1.0])
    )
    entries = published(listener, job.id)
    for text in harness.texts(job.id):
        received = joined(entries, text.position)
        assert len(received) > 100
        assert text.text.startswith(received)


def test_nothing_past_a_stop_string_is_published(
    harness: WorkerHarness, worker: Worker, listener: EventReader, model: str
) -> None:
    plain = harness.wait_until_succeeded(
        harness.generate(model, length=LONG, temperatures=[1.0], seed=5)
    )
    [whole] = harness.texts(plain.id)
    stop = whole.text[1_500:1_508]
    job = harness.wait_until_succeeded(
        harness.generate(model, length=LONG, temperatures=[1.0], seed=5, stop=[stop])
    )
    [text] = harness.texts(job.id)
    assert text.finish_reason == "stop"
    assert text.text == whole.text[: whole.text.index(stop)]
    received = joined(published(listener, job.id), 0)
    assert 0 < len(received) <= len(text.text)
    assert text.text.startswith(received)
