"""What the API shows of a device with several trainings, and how it is drained and admitted for."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from shared.worker_registry import WorkerInfo, register
from tests.api.harness import ApiHarness, Person


@pytest.fixture
def workers(harness: ApiHarness) -> None:
    for slot in range(2):
        worker = WorkerInfo("lab", "gpu:0", "train", 1, {}, slot=slot, slots=2)
        register(harness.engine, worker, ready=True)
    register(harness.engine, WorkerInfo("lab", "gpu:0", "generate", 1, {}), ready=True)
    register(harness.engine, WorkerInfo("lab", "cpu", "train", 1, {}), ready=True)


@pytest.mark.usefixtures("workers")
def test_each_slot_is_a_worker_and_a_drain_covers_them_all(admin: Person) -> None:
    shown = {each["id"]: each for each in admin.items("/v1/devices")}
    assert {name: (each["lane"], each["slot"], each["slots"]) for name, each in shown.items()} == {
        "lab/cpu/train": ("train", 0, 1),
        "lab/gpu:0/generate": ("generate", 0, 1),
        "lab/gpu:0/train": ("train", 0, 2),
        "lab/gpu:0/train:1": ("train", 1, 2),
    }
    [lane] = [each for each in admin.get("/v1/queue").json["lanes"] if each["kind"] == "train"]
    assert lane["workers"] == 3
    drained = admin.post("/v1/devices/drain", {"host": "lab", "device": "gpu:0"}).json["workers"]
    assert drained == ["lab/gpu:0/generate", "lab/gpu:0/train", "lab/gpu:0/train:1"]


@pytest.mark.usefixtures("workers")
def test_metrics_name_the_slots_of_a_divided_device(admin: Person) -> None:
    text = admin.get("/metrics").text
    [busy] = [
        each for each in text_string_to_metric_families(text) if each.name == "quire_device_busy"
    ]
    shown = sorted(
        (sample.labels["device"], sample.labels["lane"], sample.labels.get("slot"))
        for sample in busy.samples
    )
    assert shown == [
        ("cpu", "train", None), ("gpu:0", "generate", None),
        ("gpu:0", "train", "0"), ("gpu:0", "train", "1"),
    ]  # fmt: skip
