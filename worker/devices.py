"""Which devices this host's workers run on, and how a process is tied to one of them."""

import os
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from worker.gpu import Gpu, find_gpus

#: CUDA finds no device under this number, so TensorFlow sees none.
NO_GPU = "-1"
GPU_UUID_PREFIX = "GPU-"


class BadDevice(ValueError):
    """A device that was asked for is not there, or its name cannot be read."""

    def __init__(self, asked: str, reason: str) -> None:
        super().__init__(f"QUIRE_DEVICES (--devices): {asked!r} {reason}")


@dataclass(frozen=True, slots=True)
class LocalDevice:
    """A device of this host.

    Attributes:
        name: ``cpu``, ``cpu:N`` (core N alone) or ``gpu:N`` (NVML's index N).
        cores: The cores its processes are pinned to; None leaves them all.
        gpu: The GPU, for a device that is one.
    """

    name: str
    cores: tuple[int, ...] | None = None
    gpu: Gpu | None = None

    @property
    def environment(self) -> dict[str, str]:
        """What the processes of this device need in their environment before TensorFlow loads."""
        return {"CUDA_VISIBLE_DEVICES": NO_GPU if self.gpu is None else self.gpu.uuid}


def find_devices(wanted: str) -> list[LocalDevice]:
    """The devices that `wanted` names on this machine; see `resolve`."""
    return resolve(wanted, find_gpus(), os.sched_getaffinity(0))


def resolve(wanted: str, gpus: Sequence[Gpu], cores: AbstractSet[int]) -> list[LocalDevice]:
    """Read a list of devices.

    Args:
        wanted: ``auto`` (all GPUs, or else ``cpu``), or names separated by commas: ``cpu``,
            ``cpu:N``, ``gpu:N``, ``N`` (a GPU's index), or a GPU's UUID or the beginning of one.
        gpus: Those of the machine.
        cores: Those this process may use.

    Raises:
        BadDevice: Naming the value and what there is.
    """
    names = [name.strip() for name in wanted.split(",")]
    if names == ["auto"]:
        return [_gpu_device(gpu) for gpu in gpus] or [LocalDevice("cpu")]
    devices: list[LocalDevice] = []
    for name in names:
        device = _device(name, gpus, cores)
        if device in devices:
            raise BadDevice(name, f"is named twice: {device.name} is one device")
        devices.append(device)
    return devices


def _device(name: str, gpus: Sequence[Gpu], cores: AbstractSet[int]) -> LocalDevice:
    kind, _, number = name.partition(":")
    if name == "cpu":
        return LocalDevice("cpu")
    if kind == "cpu" and number.isdecimal():
        if int(number) not in cores:
            raise BadDevice(name, f"is not there; there {_are('core', sorted(cores))}")
        return LocalDevice(f"cpu:{int(number)}", cores=(int(number),))
    index = number if kind == "gpu" else name
    if index.isdecimal():
        found = [gpu for gpu in gpus if gpu.index == int(index)]
    elif name.startswith(GPU_UUID_PREFIX):
        found = [gpu for gpu in gpus if gpu.uuid.startswith(name)]
    else:
        raise BadDevice(
            name, f"is not a device: auto, cpu, cpu:N, gpu:N or a GPU's UUID; {_there(gpus)}"
        )
    if len(found) != 1:
        problem = "is the beginning of several UUIDs" if found else "is not there"
        raise BadDevice(name, f"{problem}; {_there(gpus)}")
    return _gpu_device(found[0])


def _gpu_device(gpu: Gpu) -> LocalDevice:
    return LocalDevice(f"gpu:{gpu.index}", gpu=gpu)


def _there(gpus: Sequence[Gpu]) -> str:
    if not gpus:
        return "this machine has no GPU that NVML can see"
    return f"there {_are('GPU', [f'gpu:{gpu.index} {gpu.uuid} ({gpu.name})' for gpu in gpus])}"


def _are(what: str, things: Sequence[object]) -> str:
    verb, plural = ("is", "") if len(things) == 1 else ("are", "s")
    return f"{verb} the {what}{plural} {', '.join(map(str, things))}"
