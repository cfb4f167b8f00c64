"""Parsing a list of devices."""

import pytest

from worker.devices import BadDevice, LocalDevice, resolve
from worker.gpu.inventory import Gpu, Inventory

GPUS = (Gpu(0, "GPU-11aa", "H200", 140), Gpu(1, "GPU-22bb", "H200", 140))
FOUND = Inventory(GPUS, "555.42")
NONE = Inventory(problem="there is no NVIDIA driver")
CORES = {0, 1, 3}


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        ("auto", ["gpu:0", "gpu:1"]),
        ("gpu", ["gpu:0", "gpu:1"]),
        ("cpu", ["cpu"]),
        ("cpu:0, cpu:3", ["cpu:0", "cpu:3"]),
        ("gpu:1", ["gpu:1"]),
        ("1, 0", ["gpu:1", "gpu:0"]),
        ("GPU-22bb", ["gpu:1"]),
        ("GPU-1", ["gpu:0"]),
        ("gpu:0,cpu", ["gpu:0", "cpu"]),
    ],
)
def test_a_list_of_devices(wanted: str, names: list[str]) -> None:
    assert [device.name for device in resolve(wanted, FOUND, CORES)] == names


def test_without_a_gpu_auto_is_the_cpu() -> None:
    [device] = resolve("auto", NONE, CORES)
    assert device == LocalDevice("cpu")
    assert device.environment == {"CUDA_VISIBLE_DEVICES": "-1"}


def test_a_gpu_is_pinned_by_uuid_and_a_core_by_number() -> None:
    gpu, core = resolve("gpu:1,cpu:1", FOUND, CORES)
    assert gpu.environment == {
        "CUDA_VISIBLE_DEVICES": "GPU-22bb",
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
    }
    assert core.environment == {"CUDA_VISIBLE_DEVICES": "-1"}
    assert core.cores == (1,)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("gpu:2", "'gpu:2' does not exist; this machine has the GPUs gpu:0 GPU-11aa (H200), gpu:1"),
        ("GPU-33", "'GPU-33' does not exist"),
        ("GPU-", "is a prefix of several UUIDs"),
        ("tpu", "'tpu' is not a device: use auto, gpu, cpu, cpu:N, gpu:N, gpu:N.M or a GPU's UUID"),
        ("gpu:0.x", "'gpu:0.x' is not a device"),
        ("cpu:2", "'cpu:2' does not exist; this machine has the cores 0, 1, 3"),
        ("cpu:x", "'cpu:x' is not a device"),
        ("gpu:0,0", "'0' is listed twice (as gpu:0)"),
        ("cpu,,cpu:1", "'' is not a device"),
        ("", "'' is not a device"),
        ("cpu,auto", "'auto' is not a device"),
    ],
)
def test_a_device_that_does_not_exist(wanted: str, message: str) -> None:
    with pytest.raises(BadDevice) as caught:
        resolve(wanted, FOUND, CORES)
    assert message in str(caught.value)


@pytest.mark.parametrize("wanted", ["gpu", "gpu:0", "GPU-1"])
def test_a_machine_without_gpus_says_why(wanted: str) -> None:
    with pytest.raises(BadDevice, match="this machine has none: there is no NVIDIA driver"):
        resolve(wanted, NONE, CORES)
