"""Which devices this host's workers run on, and how a process is bound to one."""

import os
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from worker.gpu.inventory import Gpu, Inventory, find_gpus
from worker.gpu.visible import (
    NVML_ORDER,
    ORDER_VARIABLE,
    VARIABLE,
    AmbiguousNumbers,
    inherited_gpus,
)

#: CUDA finds no device under this number, so TensorFlow sees none.
NO_GPU = "-1"
UUID_PREFIXES = ("GPU-", "MIG-")


class BadDevice(ValueError):
    """A requested device does not exist, or its name is invalid."""

    def __init__(self, requested: str, reason: str) -> None:
        super().__init__(f"QUIRE_DEVICES (--devices): {requested!r} {reason}")


@dataclass(frozen=True, slots=True)
class LocalDevice:
    """A device of this host.

    Attributes:
        name: ``cpu``, ``cpu:N`` (core N alone), ``gpu:N`` (NVML's index N) or ``gpu:N.M`` (slice M
            of that GPU).
        cores: The cores that its processes are pinned to; None allows all.
        gpu: The GPU; None for a CPU.
    """

    name: str
    cores: tuple[int, ...] | None = None
    gpu: Gpu | None = None

    @property
    def problem(self) -> str | None:
        """Why no worker can run on it; None if one can."""
        return None if self.gpu is None else self.gpu.problem

    @property
    def environment(self) -> dict[str, str]:
        """Variables that this device's processes need before TensorFlow loads."""
        if self.gpu is None:
            return {VARIABLE: NO_GPU}
        return {VARIABLE: self.gpu.uuid, ORDER_VARIABLE: NVML_ORDER}


def find_devices(wanted: str) -> list[LocalDevice]:
    """The devices of this machine that `wanted` names; see `resolve`."""
    found = find_gpus()
    try:
        allowed = inherited_gpus(found.gpus)
    except AmbiguousNumbers as error:
        raise BadDevice(wanted, f"can't be found: {error}") from None
    return resolve(wanted, found, os.sched_getaffinity(0), allowed)


def resolve(
    wanted: str,
    found: Inventory,
    cores: AbstractSet[int],
    allowed: Sequence[Gpu] | None = None,
) -> list[LocalDevice]:
    """Parse a list of devices.

    Args:
        wanted: ``auto`` (all GPUs, or else ``cpu``), ``gpu`` (all GPUs, of which there must be
            one), or names separated by commas: ``cpu``, ``cpu:N``, ``gpu:N``, ``N`` (a GPU's
            index), ``gpu:N.M`` (a MIG slice), or a UUID or a prefix of one.
        found: The machine's GPUs.
        cores: The cores that this process may use.
        allowed: The GPUs that this process may use; None for all.

    Raises:
        BadDevice: The message names the value and the devices that exist.
    """
    gpus = _Gpus(found, found.gpus if allowed is None else allowed)
    names = [name.strip() for name in wanted.split(",")]
    if names in (["auto"], ["gpu"]):
        if not gpus.usable and names == ["gpu"]:
            raise BadDevice("gpu", f"needs a GPU, but {gpus.listed}")
        return [LocalDevice(gpu.device, gpu=gpu) for gpu in gpus.usable] or [LocalDevice("cpu")]
    devices: list[LocalDevice] = []
    for name in names:
        for device in _devices(name, gpus, cores):
            if device in devices:
                raise BadDevice(name, f"is listed twice (as {device.name})")
            devices.append(device)
    return devices


@dataclass(frozen=True, slots=True)
class _Gpus:
    """The machine's GPUs, and those that this process may use."""

    found: Inventory
    usable: Sequence[Gpu]

    @property
    def listed(self) -> str:
        """What there is, for an error message."""
        if not self.found.gpus:
            return f"this machine has none: {self.found.problem}"
        if not self.usable:
            return f"{VARIABLE}={os.environ.get(VARIABLE, '')!r} leaves none"
        return _available(
            "GPU", [f"{gpu.device} {gpu.uuid or 'lost'} ({gpu.name})" for gpu in self.usable]
        )


def _devices(name: str, gpus: _Gpus, cores: AbstractSet[int]) -> list[LocalDevice]:
    kind, _, number = name.partition(":")
    if name == "cpu":
        return [LocalDevice("cpu")]
    if kind == "cpu" and number.isdecimal():
        if int(number) not in cores:
            raise BadDevice(name, f"does not exist; {_available('core', sorted(cores))}")
        return [LocalDevice(f"cpu:{int(number)}", cores=(int(number),))]
    index, _, part = (number if kind == "gpu" else name).partition(".")
    if index.isdecimal() and (not part or part.isdecimal()):
        # Without a slice's number, a GPU in MIG mode is all of its slices.
        named = [
            gpu
            for gpu in gpus.usable
            if gpu.index == int(index) and (not part or gpu.slice == int(part))
        ]
        one = True
    elif name.startswith(UUID_PREFIXES):
        named = [gpu for gpu in gpus.usable if gpu.uuid.startswith(name)]
        one = len(named) == 1
    else:
        raise BadDevice(
            name,
            "is not a device: use auto, gpu, cpu, cpu:N, gpu:N, gpu:N.M or a GPU's UUID; "
            f"{gpus.listed}",
        )
    if not named or not one:
        problem = "is a prefix of several UUIDs" if named else "does not exist"
        raise BadDevice(name, f"{problem}; {gpus.listed}")
    return [LocalDevice(gpu.device, gpu=gpu) for gpu in named]


def _available(noun: str, things: Sequence[object]) -> str:
    plural = "" if len(things) == 1 else "s"
    return f"this machine has the {noun}{plural} {', '.join(map(str, things))}"
