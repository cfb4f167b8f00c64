"""Which errors are the device's, which are the job's, and which mean that memory ran out.

CUDA's and cuDNN's errors reach Python as TensorFlow's general ones, so their texts are read.
"""

import re
from collections.abc import Iterator

import tensorflow as tf

#: After one of these, nothing that the process computes on its GPU can be trusted.
_OF_DEVICE = re.compile(
    r"CUDA_ERROR|CUDNN_STATUS|CUBLAS_STATUS|CUSOLVER_STATUS|cuda ?error|cudnn ?error|cublas ?error"
    r"|cudaError|illegal (?:memory|address|instruction)|misaligned address|unspecified launch"
    r"|launch (?:failure|timed out)|device-side assert|\bECC\b|uncorrectable|\bXid\b"
    r"|fallen off the bus|GPU is lost|CudnnRNN|failed to (?:enqueue|launch|synchronize)"
    r"|could not synchronize|device(?:'s)? (?:lost|unavailable)",
    re.IGNORECASE,
)
_OF_MEMORY = re.compile(
    r"OUT_OF_MEMORY|out of memory|\bOOM\b|RESOURCE_EXHAUSTED|_ALLOC_FAILED|memoryallocation"
    r"|failed to allocate",
    re.IGNORECASE,
)
#: The errors in which TensorFlow and XLA pass on those of a device.
#: An arena is large if its peak is so much more than what is in use.
LARGE_ARENA, SMALL_BYTES = 2, 2**30
_CARRIERS = (tf.errors.OpError, RuntimeError)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the run needed more memory than there is, on the device or beside it."""
    return any(
        isinstance(each, MemoryError | tf.errors.ResourceExhaustedError)
        or (isinstance(each, _CARRIERS) and bool(_OF_MEMORY.search(str(each))))
        for each in _chain(error)
    )


def is_device_error(error: BaseException) -> bool:
    """Whether the device failed, and not the job."""
    if is_out_of_memory(error):
        return False
    # On a GPU these are CUDA's and cuDNN's, whatever they say.
    general: tuple[type[BaseException], ...] = ()
    if tf.config.get_visible_devices("GPU"):
        general = (tf.errors.InternalError, tf.errors.UnknownError)
    return any(
        isinstance(each, general)
        or (isinstance(each, _CARRIERS) and bool(_OF_DEVICE.search(str(each))))
        for each in _chain(error)
    )


def arena_stays_large() -> bool:
    """Whether this process holds memory of a GPU that others could use.

    TensorFlow's arena grows as needed and never shrinks, so it is as large as its peak.
    """
    if not tf.config.get_visible_devices("GPU"):
        return False
    try:
        used = tf.config.experimental.get_memory_info("GPU:0")
    except (ValueError, tf.errors.OpError):
        return True
    return int(used["peak"]) > LARGE_ARENA * int(used["current"]) + SMALL_BYTES


def describe(error: BaseException) -> str:
    """A device's error in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and what it was raised from."""
    seen: set[int] = set()
    found: BaseException | None = error
    while found is not None and id(found) not in seen:
        seen.add(id(found))
        yield found
        found = found.__cause__ or (None if found.__suppress_context__ else found.__context__)
