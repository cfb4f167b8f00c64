"""A fake NVML, which shows GPUs to a machine that has none.

`QUIRE_TEST_GPUS` lists the GPUs' UUIDs; without it there is no driver.
"""

import os
from types import SimpleNamespace

GIB = 1024**3


class NVMLError(Exception):
    pass


class NVMLError_LibraryNotFound(NVMLError):
    pass


class NVMLError_DriverNotLoaded(NVMLError):
    pass


class NVMLError_Unknown(NVMLError):
    pass


def _uuids() -> list[str]:
    return [uuid for uuid in os.environ.get("QUIRE_TEST_GPUS", "").split(",") if uuid]


def nvmlInit() -> None:
    if os.environ.get("QUIRE_TEST_GPUS") == "broken":
        raise NVMLError_Unknown("Driver/library version mismatch")
    if not _uuids():
        raise NVMLError_LibraryNotFound("NVML Shared Library Not Found")


def nvmlShutdown() -> None:
    pass


def nvmlDeviceGetCount() -> int:
    return len(_uuids())


def nvmlDeviceGetHandleByIndex(index: int) -> int:
    return index


def nvmlDeviceGetUUID(handle: int) -> str:
    return _uuids()[handle]


def nvmlDeviceGetName(handle: int) -> str:
    return f"Test GPU {handle}"


def nvmlDeviceGetMemoryInfo(handle: int) -> SimpleNamespace:
    return SimpleNamespace(total=(handle + 1) * 8 * GIB)
