"""Which GPUs and MIG slices this machine has, and which of them can't be used, and why."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pynvml

#: NVML's errors on a machine without an NVIDIA driver, where finding no GPU is right.
NO_DRIVER = (pynvml.NVMLError_LibraryNotFound, pynvml.NVMLError_DriverNotLoaded)
#: The oldest CUDA that a driver may support, as NVML writes 12.0. Libraries of CUDA 12.x run on the
#: driver of any CUDA 12, from 525.60.13 on.
OLDEST_CUDA, OLDEST_DRIVER = 12000, "525.60.13"
#: Where NVIDIA's MPS daemon listens, unless `CUDA_MPS_PIPE_DIRECTORY` says otherwise.
MPS_DIRECTORY = "/tmp/nvidia-mps"  # noqa: S108  # NVIDIA's own default
EXCLUSIVE = (
    pynvml.NVML_COMPUTEMODE_EXCLUSIVE_PROCESS,
    pynvml.NVML_COMPUTEMODE_EXCLUSIVE_THREAD,
)


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU, or a MIG slice of one.

    Attributes:
        index: The GPU's number in NVML, which may differ from CUDA's.
        uuid: The same in NVML and CUDA, ``GPU-…`` or ``MIG-…``; empty if NVML can't tell it.
        name: The product's name.
        memory_bytes: The memory of the GPU, or of the slice.
        slice: The slice's number on its GPU; None for a whole GPU.
        capability: The compute capability, such as ``9.0``.
        problem: Why it can't be used, in a sentence; None if it can.
    """

    index: int
    uuid: str
    name: str
    memory_bytes: int
    slice: int | None = None
    capability: str | None = None
    problem: str | None = None

    @property
    def device(self) -> str:
        """What its device is called: ``gpu:N``, or ``gpu:N.M`` for slice M."""
        return f"gpu:{self.index}" if self.slice is None else f"gpu:{self.index}.{self.slice}"


@dataclass(frozen=True, slots=True)
class Inventory:
    """The GPUs of a machine.

    Attributes:
        gpus: All GPUs and slices in NVML's order, those that can't be used too.
        driver: The driver's version; None without a driver.
        problem: Why no GPU can be had at all; None if the driver works.
    """

    gpus: tuple[Gpu, ...] = ()
    driver: str | None = None
    problem: str | None = None


def find_gpus() -> Inventory:
    """All GPUs of this machine. Each is looked at alone: a lost one hides no other."""
    try:
        with nvml():
            driver = str(pynvml.nvmlSystemGetDriverVersion())
            cuda = int(pynvml.nvmlSystemGetCudaDriverVersion())
            if cuda < OLDEST_CUDA:
                return Inventory(driver=driver, problem=_too_old(driver, cuda))
            count = pynvml.nvmlDeviceGetCount()
            found = [gpu for index in range(count) for gpu in _at(index)]
    except NO_DRIVER:
        return Inventory(problem="there is no NVIDIA driver (NVML's library was not found)")
    except pynvml.NVMLError as error:
        return Inventory(problem=f"the NVIDIA driver does not work (NVML: {error})")
    return Inventory(tuple(found), driver, None if found else "the NVIDIA driver finds no GPU")


@contextmanager
def nvml() -> Iterator[None]:
    """NVML, ready for calls inside the block."""
    pynvml.nvmlInit()
    try:
        yield
    finally:
        pynvml.nvmlShutdown()


def mps_runs() -> bool:
    """Whether NVIDIA's MPS daemon runs here, through which processes compute at the same time."""
    directory = os.environ.get("CUDA_MPS_PIPE_DIRECTORY", MPS_DIRECTORY)
    return (Path(directory) / "control").exists()


def _at(index: int) -> list[Gpu]:
    """The GPU of an index, or its slices."""
    try:
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        whole = _describe(handle, index)
        slices = _slices(handle, index, whole)
    except pynvml.NVMLError as error:
        return [Gpu(index, _uuid_of_lost(index), "unknown GPU", 0, problem=_sentence(error))]
    if slices is not None:
        return slices
    problem = _compute_mode_problem(handle, index)
    return [whole if problem is None else _with_problem(whole, problem)]


def _describe(handle: object, index: int, slice: int | None = None, capability: str = "") -> Gpu:
    if not capability:
        capability = "{}.{}".format(*pynvml.nvmlDeviceGetCudaComputeCapability(handle))
    return Gpu(
        index=index,
        uuid=str(pynvml.nvmlDeviceGetUUID(handle)),
        name=str(pynvml.nvmlDeviceGetName(handle)),
        memory_bytes=int(pynvml.nvmlDeviceGetMemoryInfo(handle).total),
        slice=slice,
        capability=capability,
    )


def _slices(handle: object, index: int, whole: Gpu) -> list[Gpu] | None:
    """The slices of a GPU in MIG mode; None of one that is not."""
    try:
        enabled, _ = pynvml.nvmlDeviceGetMigMode(handle)
    except (pynvml.NVMLError_NotSupported, pynvml.NVMLError_FunctionNotFound):
        return None
    if not enabled:
        return None
    found = []
    for number in range(pynvml.nvmlDeviceGetMaxMigDeviceCount(handle)):
        try:
            part = pynvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, number)
            found.append(_describe(part, index, number, whole.capability or ""))
        except pynvml.NVMLError_NotFound:
            continue
        except pynvml.NVMLError as error:
            found.append(Gpu(index, "", f"{whole.name} MIG", 0, number, problem=_sentence(error)))
    if found:
        return found
    return [_with_problem(whole, "it is in MIG mode and has no slice: make some (nvidia-smi mig)")]


def _compute_mode_problem(handle: object, index: int) -> str | None:
    try:
        mode = pynvml.nvmlDeviceGetComputeMode(handle)
    except pynvml.NVMLError_NotSupported:
        return None
    way_out = f"set it with `nvidia-smi -i {index} -c DEFAULT`"
    if mode == pynvml.NVML_COMPUTEMODE_PROHIBITED:
        return f"its compute mode is Prohibited: {way_out}"
    if mode in EXCLUSIVE and not mps_runs():
        # A second process would fail, and each device has a worker for each kind of job.
        return (
            "its compute mode admits one process, and Quire needs two: "
            f"{way_out}, or start NVIDIA's MPS daemon"
        )
    return None


def _with_problem(gpu: Gpu, problem: str) -> Gpu:
    return Gpu(gpu.index, gpu.uuid, gpu.name, gpu.memory_bytes, gpu.slice, gpu.capability, problem)


def _uuid_of_lost(index: int) -> str:
    """A lost GPU may still tell its name."""
    try:
        return str(pynvml.nvmlDeviceGetUUID(pynvml.nvmlDeviceGetHandleByIndex(index)))
    except pynvml.NVMLError:
        return ""


def _sentence(error: pynvml.NVMLError) -> str:
    if isinstance(error, pynvml.NVMLError_NoPermission):
        return (
            "NVML: Insufficient Permissions. Give this user the device files (/dev/nvidia*), or "
            "the container the GPU"
        )
    if isinstance(error, pynvml.NVMLError_GpuIsLost | pynvml.NVMLError_ResetRequired):
        return f"NVML: {error}. It has to be reset, or the machine restarted"
    return f"NVML: {error}"


def _too_old(driver: str, cuda: int) -> str:
    major, minor = cuda // 1000, cuda % 1000 // 10
    return (
        f"the NVIDIA driver {driver} is for CUDA {major}.{minor}, and TensorFlow needs the driver "
        f"of CUDA 12 ({OLDEST_DRIVER} or newer)"
    )
