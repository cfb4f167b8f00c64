"""Parsing a list of devices, and finding GPUs with NVML."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import worker.gpu
from worker.devices import BadDevice, resolve
from worker.gpu import Gpu

GPUS = [Gpu(0, "GPU-11aa", "H200", 140), Gpu(1, "GPU-22bb", "H200", 140)]
CORES = {0, 1}


@pytest.fixture
def gpu_module(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """`worker.gpu` over a fake NVML."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "fakes"))
    monkeypatch.delitem(sys.modules, "pynvml", raising=False)
    yield importlib.reload(worker.gpu)
    monkeypatch.undo()
    sys.modules.pop("pynvml", None)
    importlib.reload(worker.gpu)


def test_without_a_driver_there_is_no_gpu_and_no_error(gpu_module: ModuleType) -> None:
    assert gpu_module.find_gpus() == []


def test_with_a_broken_driver_there_is_no_gpu(
    gpu_module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUIRE_TEST_GPUS", "broken")
    assert gpu_module.find_gpus() == []


def test_gpus_have_uuid_name_and_memory(
    gpu_module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUIRE_TEST_GPUS", "GPU-1,GPU-2")
    found = gpu_module.find_gpus()
    assert [(gpu.index, gpu.uuid, gpu.name, gpu.memory_bytes) for gpu in found] == [
        (0, "GPU-1", "Test GPU 0", 8 * 1024**3),
        (1, "GPU-2", "Test GPU 1", 16 * 1024**3),
    ]


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        ("auto", ["gpu:0", "gpu:1"]),
        ("cpu", ["cpu"]),
        ("cpu:0,cpu:1", ["cpu:0", "cpu:1"]),
        ("gpu:1", ["gpu:1"]),
        ("1, 0", ["gpu:1", "gpu:0"]),
        ("GPU-22bb", ["gpu:1"]),
        ("GPU-1", ["gpu:0"]),
        ("gpu:0,cpu", ["gpu:0", "cpu"]),
    ],
)
def test_every_spelling_of_a_device(wanted: str, names: list[str]) -> None:
    assert [device.name for device in resolve(wanted, GPUS, CORES)] == names


def test_without_a_gpu_auto_is_the_cpu() -> None:
    [device] = resolve("auto", [], CORES)
    assert device.name == "cpu"
    assert device.environment == {"CUDA_VISIBLE_DEVICES": "-1"}
    assert device.cores is None


def test_a_gpu_is_pinned_by_uuid_and_a_core_by_number() -> None:
    gpu, core = resolve("gpu:1,cpu:1", GPUS, CORES)
    assert gpu.environment == {"CUDA_VISIBLE_DEVICES": "GPU-22bb"}
    assert core.cores == (1,)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("cpu:7", "'cpu:7' does not exist; this machine has the cores 0, 1"),
        ("gpu:2", "'gpu:2' does not exist; this machine has the GPUs gpu:0 GPU-11aa (H200), gpu:1"),
        ("GPU-33", "'GPU-33' does not exist"),
        ("GPU-", "is a prefix of several UUIDs"),
        ("tpu", "'tpu' is not a device: use auto, cpu, cpu:N, gpu:N or a GPU's UUID"),
        ("cpu:x", "'cpu:x' is not a device"),
        ("", "'' is not a device"),
        ("gpu:0,0", "'0' is listed twice (as gpu:0)"),
        ("cpu,auto", "'auto' is not a device"),
    ],
)
def test_a_bad_device_is_named_with_the_devices_that_exist(wanted: str, message: str) -> None:
    with pytest.raises(BadDevice) as refused:
        resolve(wanted, GPUS, CORES)
    assert "QUIRE_DEVICES (--devices): " in str(refused.value)
    assert message in str(refused.value)


def test_a_machine_without_gpus_says_so() -> None:
    with pytest.raises(BadDevice, match="NVML finds no GPU on this machine"):
        resolve("gpu:0", [], CORES)
