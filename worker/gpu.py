"""The GPUs of this machine, asked of NVML; nothing here loads TensorFlow or CUDA."""

from dataclasses import dataclass

import pynvml
import structlog

log = structlog.get_logger(__name__)

#: What NVML says on a machine without an NVIDIA driver: no GPU, and nothing wrong.
NO_DRIVER = (pynvml.NVMLError_LibraryNotFound, pynvml.NVMLError_DriverNotLoaded)


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU as NVML knows it. `index` is NVML's, which need not be CUDA's; `uuid` is both's."""

    index: int
    uuid: str
    name: str
    memory_bytes: int


def find_gpus() -> list[Gpu]:
    """All GPUs, in NVML's order; none where there is no driver."""
    try:
        pynvml.nvmlInit()
    except NO_DRIVER:
        return []
    except pynvml.NVMLError as error:
        # A driver that is broken or out of step with its library: the CPU works all the same.
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
