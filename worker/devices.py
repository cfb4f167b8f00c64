"""Which devices this host's workers run on, and how a process is bound to one."""

import os
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from worker.gpu import Gpu, find_gpus

#: CUDA finds no device under this number, so TensorFlow sees none.
NO_GPU = "-1"
GPU_UUID_PREFIX = "GPU-"


class BadDevice(ValueError):
    """A requested device does not exist, or its name is invalid."""

    def __init__(self, requested: str, reason: str) -> None:
        super().__init__(f"QUIRE_DEVICES (--devices): {requested!r} {reason}")


@dataclass(frozen=True, slots=True)
class LocalDevice:
    """A device of this host.

    Attributes:
        name: ``cpu``, ``cpu:N`` (core N alone) or ``gpu:N`` (NVML's index N).
        cores: The cores that its processes are pinned to; None allows all.
        gpu: The GPU; None for a CPU.
    """

    name: str
    cores: tuple[int, ...] | None = None
    gpu: Gpu | None = None

    @property
    def environment(self) -> dict[str, str]:
        """Variables that this device's processes need before TensorFlow loads."""
        return {"CUDA_VISIBLE_DEVICES": NO_GPU if self.gpu is None else self.gpu.uuid}


def find_devices(wanted: str) -> list[LocalDevice]:
    """The devices of this machine that `wanted` names; see `resolve`."""
    return resolve(wanted, find_gpus(), os.sched_getaffinity(0))


def resolve(wanted: str, gpus: Sequence[Gpu], cores: AbstractSet[int]) -> list[LocalDevice]:
    """Parse a list of devices.

    Args:
        wanted: ``auto`` (all GPUs, or else ``cpu``), or names separated by commas: ``cpu``,
            ``cpu:N``, ``gpu:N``, ``N`` (a GPU's index), or a GPU's UUID or a prefix of one.
        gpus: The machine's GPUs.
        cores: The cores that this process may use.

    Raises:
        BadDevice: The message names the value and the devices that exist.
    """
    names = [name.strip() for name in wanted.split(",")]
    if names == ["auto"]:
        return [_gpu_device(gpu) for gpu in gpus] or [LocalDevice("cpu")]
    devices: list[LocalDevice] = []
    for name in names:
        device = _device(name, gpus, cores)
        if device in devices:
            raise BadDevice(name, f"is listed twice (as {device.name})")
        devices.append(device)
    return devices


def _device(name: str, gpus: Sequence[Gpu], cores: AbstractSet[int]) -> LocalDevice:
    kind, _, number = name.partition(":")
    if name == "cpu":
        return LocalDevice("cpu")
    if kind == "cpu" and number.isdecimal():
        if int(number) not in cores:
            raise BadDevice(name, f"does not exist; {_available('core', sorted(cores))}")
        return LocalDevice(f"cpu:{int(number)}", cores=(int(number),))
    index = number if kind == "gpu" else name
    if index.isdecimal():
        found = [gpu for gpu in gpus if gpu.index == int(index)]
    elif name.startswith(GPU_UUID_PREFIX):
        found = [gpu for gpu in gpus if gpu.uuid.startswith(name)]
    else:
        raise BadDevice(
            name, f"is not a device: use auto, cpu, cpu:N, gpu:N or a GPU's UUID; {_gpus(gpus)}"
        )
    if len(found) != 1:
        problem = "is a prefix of several UUIDs" if found else "does not exist"
        raise BadDevice(name, f"{problem}; {_gpus(gpus)}")
    return _gpu_device(found[0])


def _gpu_device(gpu: Gpu) -> LocalDevice:
    return LocalDevice(f"gpu:{gpu.index}", gpu=gpu)


def _gpus(gpus: Sequence[Gpu]) -> str:
    if not gpus:
        return "NVML finds no GPU on this machine"
    return _available("GPU", [f"gpu:{gpu.index} {gpu.uuid} ({gpu.name})" for gpu in gpus])


def _available(noun: str, things: Sequence[object]) -> str:
    plural = "" if len(things) == 1 else "s"
    return f"this machine has the {noun}{plural} {', '.join(map(str, things))}"
