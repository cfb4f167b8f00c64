"""Broken and quarantined devices: everybody sees why, and admins free them."""

from shared import device_health
from shared.device_health import Quarantine
from shared.worker_registry import WorkerInfo, register
from tests.api.harness import ApiHarness, Person, problem

RULE = Quarantine(faults=1, window_seconds=600, seconds=1800)


def show(harness: ApiHarness) -> None:
    for lane in ("train", "generate"):
        worker = WorkerInfo("lab", "gpu:0", lane, 1, {}, gpu_name="H100", gpu_memory_bytes=60 << 30)
        register(harness.engine, worker, ready=False)


def test_a_devices_problem_is_shown_in_each_of_its_lanes(
    harness: ApiHarness, ann: Person, admin: Person
) -> None:
    show(harness)
    well = ann.items("/v1/devices")
    assert [each["gpu_memory_bytes"] for each in well] == [60 << 30] * 2
    assert {(each["problem"], each["quarantined"], each["faults"]) for each in well} == {
        (None, False, 0)
    }
    device_health.record_broken(harness.engine, "lab", "gpu:0", "no GPU: cuInit failed")
    broken = ann.items("/v1/devices")
    assert [each["problem"] for each in broken] == ["no GPU: cuInit failed"] * 2
    assert all(each["retry_at"] > each["problem_since"] for each in broken)
    device_health.record_fault(harness.engine, "lab", "gpu:0", "Xid 79", RULE)
    assert [each["quarantined"] for each in ann.items("/v1/devices")] == [True, True]


def test_an_admin_frees_a_device(harness: ApiHarness, ann: Person, admin: Person) -> None:
    show(harness)
    device_health.record_fault(harness.engine, "lab", "gpu:0", "Xid 79", RULE)
    device = {"host": "lab", "device": "gpu:0"}
    assert problem(ann.post("/v1/devices/free", json=device), 403)
    freed = admin.post("/v1/devices/free", json=device)
    assert (freed.status_code, freed.json) == (200, device | {"problem": "Xid 79"})
    assert [each["problem"] for each in ann.items("/v1/devices")] == [None, None]
    assert admin.post("/v1/devices/free", json=device).json == device | {"problem": None}
    events = [each for each in admin.items("/v1/audit") if each["action"] == "device.freed"]
    assert events[-1]["details"] == device | {"problem": "Xid 79"}


def test_a_device_that_nobody_has_can_not_be_freed(harness: ApiHarness, admin: Person) -> None:
    missing = admin.post("/v1/devices/free", json={"host": "lab", "device": "gpu:7"})
    assert "lab/gpu:7" in problem(missing, 404)["detail"]
    for body in ({"host": "lab"}, {"host": "", "device": "gpu:0"}, {"host": "x", "device": 1}):
        assert admin.post("/v1/devices/free", json=body).status_code == 422
