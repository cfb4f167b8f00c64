"""What an inherited `CUDA_VISIBLE_DEVICES` leaves: Slurm, or whoever shares a machine, sets it."""

import os
from collections.abc import Mapping, Sequence

from worker.gpu.inventory import Gpu

VARIABLE = "CUDA_VISIBLE_DEVICES"
#: Makes CUDA count GPUs as NVML does; otherwise the fastest is 0.
ORDER_VARIABLE, NVML_ORDER = "CUDA_DEVICE_ORDER", "PCI_BUS_ID"


class AmbiguousNumbers(ValueError):
    """Numbers in the variable that CUDA may count in another order than NVML."""

    def __init__(self, value: str) -> None:
        super().__init__(
            f"{VARIABLE} is {value!r}, but this machine has GPUs of several kinds, which CUDA "
            f"counts by speed: set {ORDER_VARIABLE}={NVML_ORDER} too, or list UUIDs"
        )


def inherited_gpus(
    gpus: Sequence[Gpu], environment: Mapping[str, str] = os.environ
) -> list[Gpu] | None:
    """The GPUs that this process may use, in the variable's order; None if it leaves them all.

    The list ends at its first entry that names no GPU, as for CUDA. A GPU's entry stands for its
    slices.

    Raises:
        AmbiguousNumbers: Numbers may mean other GPUs to CUDA than to NVML.
    """
    value = environment.get(VARIABLE)
    if value is None:
        return None
    chosen: list[Gpu] = []
    for entry in (part.strip() for part in value.split(",")):
        if entry.isdecimal():
            kinds = {gpu.name for gpu in gpus}
            if len(kinds) > 1 and environment.get(ORDER_VARIABLE) != NVML_ORDER:
                raise AmbiguousNumbers(value)
            named = [gpu for gpu in gpus if gpu.index == int(entry)]
        else:
            named = [gpu for gpu in gpus if _names(entry, gpu)]
            if len({gpu.index for gpu in named}) > 1:
                named = []
        if not named:
            break
        chosen += [gpu for gpu in named if gpu not in chosen]
    return chosen


def _names(entry: str, gpu: Gpu) -> bool:
    return entry.startswith(("GPU-", "MIG-")) and bool(gpu.uuid) and gpu.uuid.startswith(entry)
