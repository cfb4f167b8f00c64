"""Errors that the driver reports of a GPU: its Xid events, read through NVML.

TensorFlow shows only what its own process runs into, and often as a hang.
"""

import threading
from collections.abc import Callable, Mapping, Sequence

import pynvml
import structlog

from worker.gpu.inventory import Gpu, nvml

WAIT_SECONDS = 2.0
#: How long it waits after NVML itself has failed.
PAUSE_SECONDS = 30.0
#: Xids that programs cause, and not the hardware: the program's own error tells them better.
OF_PROGRAMS = frozenset({13, 31, 43, 45, 66, 68})
#: What an operator should know by name; the rest is looked up in NVIDIA's list of Xid errors.
NAMES: Mapping[int, str] = {
    48: "double-bit ECC error",
    63: "ECC page retirement or row remapping",
    64: "ECC page retirement or row remapping failed",
    74: "NVLink error",
    79: "the GPU has fallen off the bus",
    92: "high rate of single-bit ECC errors",
    94: "contained ECC error",
    95: "uncontained ECC error",
    119: "timeout of the GPU's system processor",
    120: "error of the GPU's system processor",
    140: "unrecovered ECC error",
}

log = structlog.get_logger(__name__)


def describe(xid: int) -> str:
    """An Xid in a few words."""
    name = NAMES.get(xid)
    return f"Xid {xid} ({name})" if name else f"Xid {xid}"


class XidWatch:
    """Calls back for each Xid of the given GPUs that is no program's own fault.

    Args:
        gpus: The GPUs; a slice shares those of its GPU.
        on_xid: Called in this object's thread with the GPU, or slice, and what happened.
    """

    def __init__(self, gpus: Sequence[Gpu], on_xid: Callable[[Gpu, str], object]) -> None:
        self._gpus = gpus
        self._on_xid = on_xid
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="xid", daemon=True)

    def start(self) -> None:
        """Start the thread, if there is a GPU to watch."""
        if self._gpus:
            self._thread.start()

    def stop(self) -> None:
        """End the thread; it is not waited for."""
        self._stopping.set()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                with nvml():
                    self._watch()
            except pynvml.NVMLError as error:
                log.warning("xid_not_watched", reason=str(error))
                self._stopping.wait(PAUSE_SECONDS)

    def _watch(self) -> None:
        events = pynvml.nvmlEventSetCreate()
        try:
            for index in sorted({gpu.index for gpu in self._gpus}):
                self._register(index, events)
            while not self._stopping.is_set():
                try:
                    event = pynvml.nvmlEventSetWait(events, int(WAIT_SECONDS * 1000))
                except pynvml.NVMLError_Timeout:
                    continue
                self._handle(event)
        finally:
            pynvml.nvmlEventSetFree(events)

    def _register(self, index: int, events: object) -> None:
        try:
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            pynvml.nvmlDeviceRegisterEvents(handle, pynvml.nvmlEventTypeXidCriticalError, events)
        except pynvml.NVMLError as error:
            # Not all GPUs have events, and the others should be watched all the same.
            log.warning("xid_not_watched", gpu=index, reason=str(error))

    def _handle(self, event: pynvml.c_nvmlEventData_t) -> None:
        xid = int(event.eventData)
        index = int(pynvml.nvmlDeviceGetIndex(event.device))
        program = xid in OF_PROGRAMS
        log.warning("xid", gpu=index, xid=describe(xid), of_a_program=program)
        if program:
            return
        for gpu in self._gpus:
            if gpu.index == index:
                self._on_xid(gpu, describe(xid))
