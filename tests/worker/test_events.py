"""What real workers say of their jobs, and that it is what the rows say in the end."""

from collections.abc import Iterator

import pytest

from shared.job_events import Entry, EventReader, sort_key
from tests.worker.harness import Worker, World, until

LONG = 3_000


@pytest.fixture(scope="module")
def worker(world: World) -> Iterator[Worker]:
    with world.worker() as worker:
        yield worker


@pytest.fixture(scope="module")
def listener(world: World) -> EventReader:
    return EventReader(world.environment["REDIS_URL"], 4, 1.0)


def said(listener: EventReader, job_id: str) -> list[Entry]:
    """All that was said of a job once its end was, in order."""

    def whole() -> list[Entry]:
        entries = listener.read_all(job_id)
        states = [entry for entry in entries if entry.kind == "state"]
        return entries if len(states) > 1 else []

    entries = until(whole, "what is said of the job's end")
    assert [entry.id for entry in entries] == sorted((e.id for e in entries), key=sort_key)
    return entries


def joined(entries: list[Entry], position: int) -> str:
    """A text as far as its pieces tell it, without gap or repeat."""
    text = ""
    for entry in entries:
        if entry.kind == "piece" and entry.data["position"] == position:
            assert entry.data["offset"] == len(text)
            assert ("prompt" in entry.data) == (text == "")
            text += entry.data["text"]
    return text


@pytest.fixture(scope="module")
def model(world: World, worker: Worker) -> str:
    training = world.succeeded(world.train())
    assert training.model_id
    return training.model_id


def test_a_training_says_its_curves_and_its_texts(
    world: World, worker: Worker, listener: EventReader
) -> None:
    job = world.succeeded(world.train(sample={"length": 20, "temperatures": [0.5]}))
    entries = said(listener, job.id)
    assert {entry.kind for entry in entries} == {"state", "metrics", "texts"}
    judged = [entry.data for entry in entries if entry.kind == "metrics" and entry.data["judged"]]
    assert job.progress is not None
    assert judged[-1]["step"] == job.progress["step"]
    assert judged[-1]["val_loss"] == job.progress["val_loss"]
    steps = [entry.data["step"] for entry in entries if entry.kind == "texts"]
    assert steps == sorted({text.step for text in world.texts(job.id)})


def test_a_text_is_told_piece_by_piece(
    world: World, worker: Worker, listener: EventReader, model: str
) -> None:
    job = world.succeeded(world.generate(model, length=LONG, temperatures=[0.5, 1.0]))
    entries = said(listener, job.id)
    for text in world.texts(job.id):
        told = joined(entries, text.position)
        assert len(told) > 100
        assert text.text.startswith(told)


def test_nothing_is_told_that_a_stop_string_cuts_off(
    world: World, worker: Worker, listener: EventReader, model: str
) -> None:
    plain = world.succeeded(world.generate(model, length=LONG, temperatures=[1.0], seed=5))
    [whole] = world.texts(plain.id)
    stop = whole.text[1_500:1_508]
    job = world.succeeded(
        world.generate(model, length=LONG, temperatures=[1.0], seed=5, stop=[stop])
    )
    [text] = world.texts(job.id)
    assert text.finish_reason == "stop"
    assert text.text == whole.text[: whole.text.index(stop)]
    told = joined(said(listener, job.id), 0)
    assert 0 < len(told) <= len(text.text)
    assert text.text.startswith(told)
