"""Estimates of trainings, and the refusal of those that fit on no worker."""

import re
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, update

from api.services import EXTENSION
from shared.queue.types import ProgressReport
from shared.settings import Settings
from shared.tables import Device, Job
from shared.worker_registry import WorkerInfo, register
from tests.api.conftest import settings_for
from tests.api.harness import ENGLISH, ApiHarness, Person, problem

MEMORY_BYTES = 4_000_000_000


@pytest.fixture
def settings(database_url: str, redis_url: str, tmp_path: Path) -> Settings:
    wide = settings_for(database_url, redis_url, tmp_path)
    return wide.model_copy(update={"train_memory_bytes": MEMORY_BYTES})


def refused(ann: Person, **fields: Any) -> tuple[str, str]:
    """Return the field and the message of a refused request."""
    error = problem(ann.post("/v1/train", fields), 422)["errors"][0]
    return error["field"], error["message"]


def trained(
    harness: ApiHarness,
    ann: Person,
    corpus: str,
    speed: float,
    seconds: float,
    device: str = "host/cpu/train",
    **fields: Any,
) -> None:
    """Complete a training with this speed in its last progress report."""
    job = ann.train(corpus, **fields)
    claim = harness.claim(job["id"])
    progress = ProgressReport(400, 400, 4, 4, 1.5, 1.6, 0.004, speed, 0)
    harness.queue.record_progress(claim, progress)
    harness.queue.succeed(claim)
    with harness.engine.begin() as connection:
        values = {"ran_seconds": seconds, "worker_id": device}
        connection.execute(update(Job).where(Job.id == job["id"]).values(values))


def test_the_response_has_an_estimate(ann: Person) -> None:
    corpus = ann.upload()
    small = ann.train(corpus, units=16)["estimate"]
    large = ann.train(corpus, units=512)["estimate"]
    for name in ("memory_bytes", "seconds", "checkpoint_bytes"):
        assert 0 < small[name] < large[name], name
    assert small["measured"] is False


def test_a_training_too_large_for_any_worker_is_refused_with_the_number_to_lower(
    ann: Person,
) -> None:
    corpus = ann.upload()
    too_long = ann.post(
        "/v1/train", {"corpus": corpus, "units": 2048, "layers": 4, "epochs": 10_000}
    )
    error = problem(too_long, 422)["errors"][0]
    assert error["field"] in ("epochs", "units", "layers")
    assert "Lower " in error["message"]
    assert ann.items("/v1/jobs") == [], "nothing was queued"


@pytest.mark.parametrize(
    "fields",
    [
        {"units": 2048, "layers": 3, "batch_size": 1024},
        {"window": 512, "batch_size": 1024, "held_out": 0.5},
        {"tokenizer": "word", "window": 1024, "batch_size": 1024, "held_out": 0.5},
        {"epochs": 10_000, "units": 1024, "layers": 4, "batch_size": 1},
    ],
    ids=["network", "window", "words", "time"],
)
def test_a_training_lowered_as_proposed_is_accepted(ann: Person, fields: dict[str, Any]) -> None:
    request = {"corpus": ann.upload(5 * ENGLISH), **fields}
    field, message = refused(ann, **request)
    assert re.search(
        r"needs about [\d.]+ GB of memory and [\d.]+ (seconds|minutes|hours|days)", message
    )
    proposed = re.search(rf"Lower {field} to (\d+)$", message)
    assert proposed
    assert ann.items("/v1/jobs") == []
    job = ann.train(**{**request, field: int(proposed[1])})
    assert job["estimate"]["memory_bytes"] <= MEMORY_BYTES
    refused(ann, **{**request, field: int(proposed[1]) + 1})


def test_the_estimate_counts_the_most_words_possible(ann: Person) -> None:
    corpus = ann.upload()
    numbers = {"window": 1024, "batch_size": 1024, "held_out": 0.5, "units": 8}
    ann.train(corpus, **numbers)
    refused(ann, corpus=corpus, tokenizer="word", **numbers)
    few = ann.train(corpus, tokenizer="word", vocabulary_limit=16, **numbers)["estimate"]
    many = ann.train(corpus, tokenizer="word", units=8)["estimate"]
    assert few["checkpoint_bytes"] < many["checkpoint_bytes"]


def test_the_network_of_a_base_checkpoint_is_not_proposed_for_lowering(
    harness: ApiHarness, ann: Person
) -> None:
    model = harness.model(ann, units=2048)
    origin = {"from": model["checkpoints"]["latest"], "corpus": model["corpus"]}
    field, _ = refused(ann, **origin, batch_size=1024)
    assert field in ("batch_size", "window")


def test_speeds_come_from_earlier_trainings_that_ran_long_enough(
    harness: ApiHarness, ann: Person
) -> None:
    corpus = ann.upload()
    guessed = ann.train(corpus)["estimate"]
    trained(harness, ann, corpus, 70.0, seconds=6)
    assert ann.train(corpus)["estimate"] == guessed, "compiling was most of it"
    for speed in (70_000.0, 80_000.0, 60_000.0):
        trained(harness, ann, corpus, speed, seconds=60)
    found = ann.train(corpus)["estimate"]
    assert (found["measured"], found["characters_per_second"]) == (True, 80_000)
    for other in ({"tokenizer": "word", "window": 12}, {"units": 64}, {"vocabulary_limit": 99}):
        assert not ann.train(corpus, **other)["estimate"]["measured"], other
    chinese = "".join(chr(0x4E00 + i) for i in range(3000)) * 2
    assert not ann.train(ann.upload(chinese))["estimate"]["measured"], "a larger alphabet"


def test_speeds_come_from_the_present_device_types(harness: ApiHarness, ann: Person) -> None:
    corpus = ann.upload()
    trained(harness, ann, corpus, 20_000.0, seconds=60)
    trained(harness, ann, corpus, 900_000.0, seconds=60, device="host/gpu:0/train")
    register(harness.engine, WorkerInfo("host", "cpu:1", "train", 1, {}), ready=True)
    assert ann.train(corpus)["estimate"]["characters_per_second"] == 20_000
    register(harness.engine, WorkerInfo("host", "gpu:1", "train", 1, {}), ready=True)
    assert ann.train(corpus)["estimate"]["characters_per_second"] == 900_000


def test_the_speed_of_another_users_training_is_not_told(
    harness: ApiHarness, ann: Person, bob: Person
) -> None:
    guessed = bob.train(bob.upload())["estimate"]
    corpus = ann.upload()
    for speed in (70_123.4, 71_234.5, 72_345.6):
        trained(harness, ann, corpus, speed, seconds=60)
    assert bob.train(bob.upload())["estimate"] == guessed, "three trainings of one user"
    cid = harness.person("cid")
    trained(harness, cid, cid.upload(), 79_999.9, seconds=60)
    pooled = bob.train(bob.upload())["estimate"]
    assert (pooled["measured"], pooled["characters_per_second"]) == (True, 72_000)
    assert ann.train(corpus)["estimate"]["characters_per_second"] == 72_345.6, "her own"


def test_how_long_another_users_job_took_is_not_told(
    harness: ApiHarness, ann: Person, bob: Person
) -> None:
    def slice_seconds(person: Person) -> Any:
        forecasts = harness.app.extensions[EXTENSION].forecasts
        forecasts._cached.clear()  # a cached one is as good for a moment
        return person.get("/v1/queue?kind=train").json["lanes"][0]["slice_seconds"]

    unknown = slice_seconds(bob)
    for seconds in (1.234, 2.345, 3.456):
        trained(harness, ann, ann.upload(), 1.0, seconds)
    assert slice_seconds(bob) == unknown
    assert slice_seconds(ann) == pytest.approx((1.234 + 2.345 + 3.456) / 3, abs=0.001)
    cid = harness.person("cid")
    trained(harness, cid, cid.upload(), 1.0, 9.87)
    assert slice_seconds(bob) == slice_seconds(ann) == 2.9


def test_a_dry_run_tells_what_the_same_request_would_submit_and_stores_nothing(
    harness: ApiHarness, ann: Person
) -> None:
    corpus = ann.upload()
    body = {"corpus": corpus, "units": 64, "seed": 7, "name": "a"}
    found = ann.post("/v1/train?dry_run=true", body)
    assert found.status_code == 200
    assert ann.items("/v1/jobs") == ann.items("/v1/models") == []
    job = ann.post("/v1/train", body).json
    told = found.json
    assert (told["name"], told["spec"], told["estimate"]) == (
        job["name"],
        job["spec"],
        job["estimate"],
    )
    assert told["queue"]["position"] == job["queue"]["position"] == 1


def test_a_dry_run_is_refused_as_the_request_would_be(ann: Person, bob: Person) -> None:
    corpus = ann.upload()
    for body in (
        {"corpus": corpus, "window": 5000},
        {"corpus": corpus, "window": 1024, "held_out": 0.01},
        {"corpus": corpus, "epochs": 1, "budget": {"seconds": 5}},
        {"corpus": corpus, "units": 2048, "layers": 4, "batch_size": 1024, "window": 1024},
    ):
        dry = problem(ann.post("/v1/train?dry_run=true", body), 422)
        assert dry == problem(ann.post("/v1/train", body), 422)
    problem(bob.post("/v1/train?dry_run=true", {"corpus": corpus}), 404)
    problem(ann.post("/v1/train?dry_run=perhaps", {"corpus": corpus}), 422)


def test_a_dry_run_tells_the_place_behind_what_waits(
    harness: ApiHarness, ann: Person, bob: Person
) -> None:
    corpus = ann.upload()
    jobs = [ann.train(corpus) for _ in range(3)]
    harness.app.extensions[EXTENSION].forecasts._cached.clear()
    place = ann.post("/v1/train?dry_run=true", {"corpus": corpus}).json["queue"]
    assert place["position"] == len(jobs) + 1
    bobs = bob.post("/v1/train?dry_run=true", {"corpus": bob.upload()}).json["queue"]
    assert 1 <= bobs["position"] <= len(jobs) + 1
    for _ in range(12 - len(jobs)):
        ann.train(corpus)
    refused = problem(ann.post("/v1/train?dry_run=true", {"corpus": corpus}), 429)
    assert "queued" in refused["detail"]


def test_trainings_that_share_a_device_share_its_memory(harness: ApiHarness, ann: Person) -> None:
    corpus = ann.upload()
    large = {"units": 900, "layers": 4, "batch_size": 16, "window": 12}
    memory = ann.train(corpus, **large)["estimate"]["memory_bytes"]
    assert MEMORY_BYTES / 4 < memory < MEMORY_BYTES
    for slot in range(4):
        worker = WorkerInfo("host", "cpu", "train", 1, {}, slot=slot, slots=4)
        register(harness.engine, worker, ready=True)
    _, message = refused(ann, corpus=corpus, **large)
    assert "1,000,000,000" in message or "1 GB" in message or "1.0 GB" in message, message


def on_gpus(harness: ApiHarness, **gpus: tuple[str, int]) -> None:
    """Register train workers of GPUs by number, each with its model and memory."""
    for number, (name, memory) in gpus.items():
        worker = WorkerInfo("host", number, "train", 1, {}, gpu_name=name, gpu_memory_bytes=memory)
        register(harness.engine, worker, ready=True)


def test_on_gpus_the_smallest_ones_memory_bounds_a_training(
    harness: ApiHarness, ann: Person
) -> None:
    corpus = ann.upload()
    huge = {"units": 2048, "layers": 4, "batch_size": 1024, "window": 12}
    on_gpus(harness, **{"gpu:0": ("H100", 80 << 30), "gpu:1": ("T4", 4 << 30)})
    refused = problem(ann.post("/v1/train", json={"corpus": corpus, **huge}), 422)
    assert "of a GPU's memory, but the smallest one has 4.3 GB for it" in refused["detail"]
    lowered = int(refused["detail"].rpartition("Lower units to ")[2].rstrip(". "))
    found = ann.train(corpus, **huge | {"units": lowered})["estimate"]
    assert found["gpu_memory_bytes"] <= 4 << 30
    # The arrays of a step are not in the host's memory.
    assert found["memory_bytes"] < found["gpu_memory_bytes"]


def test_a_card_learns_from_its_own_model_and_whatever_the_threads(
    harness: ApiHarness, ann: Person
) -> None:
    corpus = ann.upload()
    on_gpus(harness, **{"gpu:0": ("A100", 40 << 30), "gpu:1": ("H100", 80 << 30)})
    trained(harness, ann, corpus, 500_000.0, seconds=60, device="host/gpu:0/train")
    trained(harness, ann, corpus, 90_000.0, seconds=60, device="host/cpu/train")
    assert ann.train(corpus)["estimate"]["characters_per_second"] == 500_000
    trained(harness, ann, corpus, 900_000.0, seconds=60, device="host/gpu:1/train")
    assert ann.train(corpus)["estimate"]["characters_per_second"] == 900_000
    # The H100 has left, and its speeds with it.
    with harness.engine.begin() as connection:
        connection.execute(delete(Device).where(Device.id == "host/gpu:1/train"))
    assert ann.train(corpus)["estimate"]["characters_per_second"] == 500_000


def test_where_a_cpu_trains_too_its_memory_bounds(harness: ApiHarness, ann: Person) -> None:
    on_gpus(harness, **{"gpu:0": ("T4", 1 << 30)})
    register(harness.engine, WorkerInfo("host", "cpu", "train", 1, {}), ready=True)
    assert ann.train(ann.upload())["estimate"]["gpu_memory_bytes"] is None
