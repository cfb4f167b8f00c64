"""This machine's GPUs according to NVML; nothing here loads TensorFlow or CUDA."""

from dataclasses import dataclass

import pynvml
import structlog

log = structlog.get_logger(__name__)

#: NVML's errors on a machine without an NVIDIA driver, where finding no GPU is right.
NO_DRIVER = (pynvml.NVMLError_LibraryNotFound, pynvml.NVMLError_DriverNotLoaded)


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU. `index` is NVML's and may differ from CUDA's; `uuid` is the same in both."""

    index: int
    uuid: str
    name: str
    memory_bytes: int


def find_gpus() -> list[Gpu]:
    """All GPUs, in NVML's order; none without a driver."""
    try:
        pynvml.nvmlInit()
    except NO_DRIVER:
        return []
    except pynvml.NVMLError as error:
        # The driver is broken, or does not match its library; the CPU still works.
        log.warning("nvml_failed", reason=str(error))
        return []
    try:
        return [_gpu(index) for index in range(pynvml.nvmlDeviceGetCount())]
    finally:
        pynvml.nvmlShutdown()


def _gpu(index: int) -> Gpu:
    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    return Gpu(
        index=index,
        uuid=str(pynvml.nvmlDeviceGetUUID(handle)),
        name=str(pynvml.nvmlDeviceGetName(handle)),
        memory_bytes=int(pynvml.nvmlDeviceGetMemoryInfo(handle).total),
    )
