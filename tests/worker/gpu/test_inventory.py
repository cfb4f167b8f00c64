"""GPUs as the real pynvml finds them, over a stub of NVIDIA's library.

Each test runs in a process of its own, because a library can't be loaded twice.
"""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from tests.worker.gpu.stub import NvmlStub

FIND = """
import json, dataclasses
from worker.devices import BadDevice, find_devices
from worker.gpu.inventory import find_gpus
found = find_gpus()
try:
    devices = [[d.name, d.environment["CUDA_VISIBLE_DEVICES"]] for d in find_devices(WANTED)]
except BadDevice as error:
    devices = str(error)
print(json.dumps({**dataclasses.asdict(found), "devices": devices}))
"""
A, B = "GPU-aaaa-1", "GPU-bbbb-2"


def find(stub: NvmlStub, gpus: str, wanted: str = "auto", **variables: str) -> dict[str, Any]:
    stub.shows(gpus)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("CUDA_")}
    found = subprocess.run(
        [sys.executable, "-c", FIND.replace("WANTED", repr(wanted))],
        env={**environment, **stub.variables, **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(json.loads(found.stdout))


def test_gpus_have_uuid_name_memory_and_capability(nvml_stub: NvmlStub) -> None:
    found = find(nvml_stub, f"gpu {A} H100 81920 0 0\ngpu {B} OLD 8192 0 0\n")
    assert found["driver"] == "555.42.06"
    assert [(g["uuid"], g["name"], g["memory_bytes"], g["capability"]) for g in found["gpus"]] == [
        (A, "H100", 80 << 30, "9.0"),
        (B, "OLD", 8 << 30, "9.0"),
    ]
    assert found["devices"] == [["gpu:0", A], ["gpu:1", B]]


@pytest.mark.parametrize(
    ("error", "said"),
    [(15, "GPU is lost. It has to be reset"), (4, "Insufficient Permissions"), (999, "Unknown")],
)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_one_broken_gpu_hides_no_other(
    nvml_stub: NvmlStub, error: int, said: str, place: int
) -> None:
    lines = [f"gpu GPU-{index} H100 81920 0 0" for index in range(3)]
    lines[place] = f"gpu GPU-{place} H100 81920 0 {error}"
    gpus = find(nvml_stub, "\n".join(lines))["gpus"]
    assert [gpu["problem"] is None for gpu in gpus] == [index != place for index in range(3)]
    assert said in gpus[place]["problem"]


def test_a_gpu_in_mig_mode_is_its_slices(nvml_stub: NvmlStub) -> None:
    gpus = (
        f"gpu {A} H100 81920 0 0\ngpu {B} H100 81920 0 0\n"
        "mig 0 MIG-1111 20480 0\nmig 0 MIG-2222 40960 0\n"
    )
    found = find(nvml_stub, gpus)
    assert found["devices"] == [["gpu:0.0", "MIG-1111"], ["gpu:0.1", "MIG-2222"], ["gpu:1", B]]
    assert [gpu["memory_bytes"] >> 30 for gpu in found["gpus"]] == [20, 40, 80]
    for wanted in ("gpu:0.1", "0.1", "MIG-22"):
        assert find(nvml_stub, gpus, wanted)["devices"] == [["gpu:0.1", "MIG-2222"]]
    assert find(nvml_stub, gpus, "gpu:0")["devices"] == found["devices"][:2]
    assert "'gpu:0.5' does not exist" in find(nvml_stub, gpus, "gpu:0.5")["devices"]


def test_a_broken_slice_and_mig_mode_without_slices_are_told(nvml_stub: NvmlStub) -> None:
    gpus = f"gpu {A} H100 81920 0 0\nmig 0 MIG-1 20480 15\nmig 0 MIG-2 20480 0\n"
    assert [gpu["problem"] is None for gpu in find(nvml_stub, gpus)["gpus"]] == [False, True]
    [gpu] = find(nvml_stub, f"gpu {A} H100 81920 0 0\nmode-mig 0\n")["gpus"]
    assert "no slice" in gpu["problem"]


@pytest.mark.parametrize(("mode", "said"), [(2, "is Prohibited"), (3, "admits one process")])
def test_a_compute_mode_that_admits_too_few_is_told(
    nvml_stub: NvmlStub, mode: int, said: str
) -> None:
    [gpu] = find(nvml_stub, f"gpu {A} H100 81920 {mode} 0\n")["gpus"]
    assert said in gpu["problem"]
    assert "nvidia-smi -i 0 -c DEFAULT" in gpu["problem"]


def test_under_mps_the_exclusive_mode_is_right(nvml_stub: NvmlStub) -> None:
    (nvml_stub.directory / "control").touch()
    [gpu] = find(
        nvml_stub,
        f"gpu {A} H100 81920 3 0\n",
        CUDA_MPS_PIPE_DIRECTORY=str(nvml_stub.directory),
    )["gpus"]
    assert gpu["problem"] is None


@pytest.mark.parametrize(
    ("gpus", "said"),
    [
        ("init 9\n", "there is no NVIDIA driver"),
        ("init 18\n", "NVML/RM version mismatch"),
        ("driver 470.1 11040\ngpu GPU-1 H100 81920 0 0\n", "driver 470.1 is for CUDA 11.4"),
        ("driver 555.42 12050\n", "finds no GPU"),
    ],
)
def test_gpu_refuses_to_start_where_there_is_none(
    nvml_stub: NvmlStub, gpus: str, said: str
) -> None:
    found = find(nvml_stub, gpus, "gpu")
    assert said in found["problem"]
    assert found["devices"].startswith("QUIRE_DEVICES (--devices): 'gpu' needs a GPU, but ")
    assert said in found["devices"]
    assert find(nvml_stub, gpus, "auto")["devices"] == [["cpu", "-1"]]


@pytest.mark.parametrize(
    ("inherited", "devices"),
    [
        ("1", ["gpu:1"]),
        ("1,0", ["gpu:1", "gpu:0"]),
        (B, ["gpu:1"]),
        ("GPU-bb", ["gpu:1"]),
        ("0,7,1", ["gpu:0"]),
        ("GPU-", ["cpu"]),
        ("", ["cpu"]),
        ("-1", ["cpu"]),
        ("NoDevFiles", ["cpu"]),
    ],
)
def test_only_inherited_gpus_are_used(
    nvml_stub: NvmlStub, inherited: str, devices: list[str]
) -> None:
    gpus = f"gpu {A} H100 81920 0 0\ngpu {B} H100 81920 0 0\n"
    found = find(nvml_stub, gpus, "auto", CUDA_VISIBLE_DEVICES=inherited)
    assert [name for name, _ in found["devices"]] == devices
    wanted = find(nvml_stub, gpus, "gpu", CUDA_VISIBLE_DEVICES=inherited)["devices"]
    if devices == ["cpu"]:
        assert f"CUDA_VISIBLE_DEVICES={inherited!r} leaves none" in wanted
    else:
        assert [name for name, _ in wanted] == devices
    outside = {"gpu:0": 0, "gpu:1": 1}.keys() - set(devices)
    for name in outside:
        refused = find(nvml_stub, gpus, name, CUDA_VISIBLE_DEVICES=inherited)["devices"]
        assert "does not exist" in refused


def test_a_slice_may_be_inherited(nvml_stub: NvmlStub) -> None:
    gpus = f"gpu {A} H100 81920 0 0\nmig 0 MIG-11 20480 0\nmig 0 MIG-22 20480 0\n"
    found = find(nvml_stub, gpus, "gpu", CUDA_VISIBLE_DEVICES="MIG-22")
    assert found["devices"] == [["gpu:0.1", "MIG-22"]]


def test_numbers_among_gpus_of_several_kinds_are_refused(nvml_stub: NvmlStub) -> None:
    gpus = f"gpu {A} H100 81920 0 0\ngpu {B} T4 16384 0 0\n"
    refused = find(nvml_stub, gpus, "gpu", CUDA_VISIBLE_DEVICES="0")["devices"]
    assert "CUDA_DEVICE_ORDER=PCI_BUS_ID" in refused
    found = find(nvml_stub, gpus, CUDA_VISIBLE_DEVICES="0", CUDA_DEVICE_ORDER="PCI_BUS_ID")
    assert found["devices"] == [["gpu:0", A]]


WATCH = """
import time
from worker.gpu.inventory import find_gpus
from worker.gpu.xid import XidWatch
seen = []
watch = XidWatch(find_gpus().gpus, lambda gpu, what: seen.append((gpu.device, what)))
watch.start()
deadline = time.monotonic() + 20
while len(seen) < 3 and time.monotonic() < deadline:
    time.sleep(0.05)
print(seen)
"""


def test_xids_of_the_hardware_are_told_and_those_of_programs_are_not(nvml_stub: NvmlStub) -> None:
    # A slice shares the fate of its GPU; a GPU without events does not stop the others' watch.
    nvml_stub.shows(
        f"gpu {A} H100 81920 0 0\ngpu {B} H100 81920 0 15\ngpu GPU-c H100 81920 0 0\n"
        "mig 0 MIG-1 20480 0\nmig 0 MIG-2 20480 0\nxid 2 31\nxid 2 13\nxid 2 79\nxid 0 48\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", WATCH],
        env={**os.environ, **nvml_stub.variables},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.splitlines()[-1] == str(
        [
            ("gpu:2", "Xid 79 (the GPU has fallen off the bus)"),
            ("gpu:0.0", "Xid 48 (double-bit ECC error)"),
            ("gpu:0.1", "Xid 48 (double-bit ECC error)"),
        ]
    )
