"""A list on real workers: uploaded, trained, and written item by item."""

from collections.abc import Iterator
from typing import Any

import pytest

from api.app import create_app
from tests.api.conftest import settings_for
from tests.api.harness import ApiHarness, Person
from tests.worker.harness import Worker, WorkerHarness

#: So regular that a small network learns them at once.
NAMES = [f"{a}{b}{c}" for a in "ABCDEF" for b in ("an", "el", "io") for c in ("da", "ric", "s")]
NUMBERS: dict[str, Any] = {"units": 32, "epochs": 60, "held_out": 0.1, "seed": 1, "batch_size": 8}


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


@pytest.fixture(scope="module")
def trained(harness: WorkerHarness, ann: Person) -> Any:
    """The job of a training on names, with a sample of each epoch."""
    corpus = ann.upload("\n".join(NAMES), items="lines")
    job = ann.train(corpus, sample={"every_epochs": 20, "length": 30}, **NUMBERS)
    harness.wait_until_succeeded(job["id"])
    return ann.get(f"/v1/jobs/{job['id']}").json


def written(harness: WorkerHarness, ann: Person, trained: Any, **fields: Any) -> list[Any]:
    job = ann.post("/v1/generate", {"model": trained["model"], **fields}).json
    harness.wait_until_succeeded(job["id"])
    return list(ann.get(f"/v1/jobs/{job['id']}").json["texts"])


def test_items_begin_and_end_by_themselves(
    harness: WorkerHarness, ann: Person, trained: Any
) -> None:
    texts = written(harness, ann, trained, n=64, temperature=0.5, seed=3)
    assert len(texts) == 64
    assert {text["finish_reason"] for text in texts} == {"end"}
    for text in texts:
        assert text["prompt"] == ""
        assert text["text"][0] in "ABCDEF"
        assert text["copy"] == (text["text"] in NAMES)
    assert any(text["copy"] for text in texts)
    again = written(harness, ann, trained, n=64, temperature=0.5, seed=3)
    assert [text["text"] for text in again] == [text["text"] for text in texts]


def test_a_prompt_is_continued_to_the_end(
    harness: WorkerHarness, ann: Person, trained: Any
) -> None:
    for text in written(harness, ann, trained, prompt="Bel", n=8, temperature=0.2):
        assert text["finish_reason"] == "end"
        assert text["copy"] == ("Bel" + text["text"] in NAMES)
    [short] = written(harness, ann, trained, prompt="B", length=1)
    assert (len(short["text"]), short["finish_reason"]) == (1, "length")
    [stopped] = written(harness, ann, trained, prompt="Can", temperature=0.1, stop=["a", "r", "s"])
    assert (stopped["text"].strip("d"), stopped["finish_reason"]) == ("", "stop")


def test_log_probabilities_include_the_end(
    harness: WorkerHarness, ann: Person, trained: Any
) -> None:
    for text in written(harness, ann, trained, n=4, logprobs=True):
        assert len(text["logprobs"]) == len(text["text"]) + 1


def test_samples_of_a_training_are_items(ann: Person, trained: Any) -> None:
    samples = ann.items(f"/v1/jobs/{trained['id']}/texts")
    assert samples
    for text in samples:
        assert text["prompt"] == ""
        assert not any("\ufdd0" <= character <= "\ufdef" for character in text["text"])
        assert text["finish_reason"] in ("end", "length")


def test_the_history_tells_how_many_items_are_held_out(ann: Person, trained: Any) -> None:
    history = ann.items(f"/v1/jobs/{trained['id']}/history")
    [told] = [event["data"] for event in history if event["type"] == "held_out"]
    assert told["items"] == len(NAMES)
    assert 1 <= told["held_items"] < len(NAMES) / 5
    points = ann.items(f"/v1/jobs/{trained['id']}/metrics?validation=true")
    assert all(len(point["piece_losses"]) == len(told["pieces"]) for point in points)


def test_a_training_from_it_keeps_its_items(
    harness: WorkerHarness, ann: Person, trained: Any
) -> None:
    fields = {"from": trained["checkpoints"]["best"], "epochs": 1, "seed": 99, "sample": None}
    job = ann.train(trained["corpus"], **fields)
    harness.wait_until_succeeded(job["id"])
    assert harness.event(job["id"], "held_out") == harness.event(trained["id"], "held_out")


def test_ten_thousand_items_are_one_job(harness: WorkerHarness, ann: Person, trained: Any) -> None:
    job = ann.post("/v1/generate", {"model": trained["model"], "n": 10_000, "seed": 1}).json
    harness.wait_until_succeeded(job["id"], 180)
    page = ann.get(f"/v1/jobs/{job['id']}/texts?limit=200").json
    assert len(page["items"]) == 200
    assert page["next_cursor"]
    texts = ann.get(f"/v1/jobs/{job['id']}").json["texts"]
    assert [text["index"] for text in texts] == list(range(10_000))
    assert {text["finish_reason"] for text in texts} <= {"end", "length"}
    assert len({text["seed"] for text in texts}) == 10_000


def test_only_new_items_are_written_if_that_is_asked_for(
    harness: WorkerHarness, ann: Person, trained: Any
) -> None:
    fields = {"n": 16, "temperature": 1.5, "seed": 5, "only_new": True}
    texts = written(harness, ann, trained, **fields)
    assert len(texts) == 16
    assert not any(text["copy"] for text in texts)
    items = [text["text"] for text in texts if text["finish_reason"] != "exhausted"]
    assert items
    assert len(set(items)) == len(items)
    assert set(items).isdisjoint(NAMES)
    assert sum(text["discarded"] for text in texts) > 0
    again = written(harness, ann, trained, **fields)
    assert [text["text"] for text in again] == [text["text"] for text in texts]
    redrawn = next(text for text in texts if text["discarded"] and text["text"])
    [alone] = written(harness, ann, trained, temperature=1.5, seed=redrawn["seed"])
    assert alone["text"] == redrawn["text"]
    for text in written(harness, ann, trained, n=4, temperature=0.0, only_new=True):
        assert (text["text"], text["finish_reason"], text["copy"]) == ("", "exhausted", None)
        assert text["discarded"] == 20


def test_the_nearest_item_of_the_corpus_is_told(
    harness: WorkerHarness, ann: Person, trained: Any
) -> None:
    for text in written(harness, ann, trained, n=8, temperature=1.5, seed=2, nearest=True):
        distances = [edit_distance(text["text"], name) for name in NAMES]
        nearest = NAMES[distances.index(min(distances))]
        assert text["nearest"] == {"item": nearest, "distance": min(distances)}
        assert (text["nearest"]["distance"] == 0) == text["copy"]
        assert text["discarded"] is None


def edit_distance(one: str, other: str) -> int:
    """Levenshtein's, by the textbook."""
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        before, row = row, [i]
        for j, b in enumerate(other, 1):
            row.append(min(before[j] + 1, row[-1] + 1, before[j - 1] + (a != b)))
    return row[-1]
