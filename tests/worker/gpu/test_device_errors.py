"""Which errors are the device's."""

import pytest
import tensorflow as tf

from worker.execution import device_errors
from worker.execution.device_errors import arena_stays_large, is_device_error, is_out_of_memory
from worker.execution.failures import explain

OF_DEVICE = [
    tf.errors.InternalError(None, None, "Failed to call DoRnnForward: CUDNN_STATUS_INTERNAL_ERROR"),
    tf.errors.InternalError(None, None, "Attempting to perform BLAS operation: CUBLAS_STATUS_X"),
    tf.errors.InternalError(None, None, "CUDA_ERROR_ILLEGAL_ADDRESS: an illegal memory access"),
    tf.errors.UnknownError(None, None, "CUDNN_STATUS_EXECUTION_FAILED in tensorflow/stream"),
    tf.errors.UnknownError(None, None, "Failed to launch CudnnRNNV3"),
    tf.errors.AbortedError(None, None, "CUDA error: uncorrectable ECC error encountered"),
    tf.errors.FailedPreconditionError(None, None, "could not synchronize on CUDA context"),
    RuntimeError("INTERNAL: CUDA error: Failed to enqueue async memcpy: illegal address"),
    RuntimeError("CUDA_ERROR_LAUNCH_FAILED: unspecified launch failure"),
    RuntimeError("the GPU has fallen off the bus (Xid 79)"),
]
OF_MEMORY = [
    MemoryError(),
    tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor"),
    tf.errors.InternalError(None, None, "CUDNN_STATUS_ALLOC_FAILED"),
    tf.errors.InternalError(None, None, "CUBLAS_STATUS_ALLOC_FAILED"),
    tf.errors.InternalError(None, None, "CUDA_ERROR_OUT_OF_MEMORY: out of memory"),
    RuntimeError("RESOURCE_EXHAUSTED: Failed to allocate request for 2.0GiB"),
]
OF_JOB = [
    ValueError("the word CUDA_ERROR in a text"),
    KeyError("CUDNN_STATUS"),
    RuntimeError("something else"),
    tf.errors.InvalidArgumentError(None, None, "indices[0] = 77 is not in [0, 64)"),
    tf.errors.InternalError(None, None, "an assertion of the CPU's compiler"),
]


@pytest.fixture
def on_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: ["a GPU"])


@pytest.mark.parametrize("error", OF_DEVICE, ids=str)
def test_errors_of_a_device(error: Exception) -> None:
    assert is_device_error(error)
    assert not is_out_of_memory(error)


@pytest.mark.parametrize("error", OF_MEMORY, ids=str)
def test_memory_that_ran_out_is_the_jobs(error: Exception) -> None:
    assert is_out_of_memory(error)
    assert not is_device_error(error)


@pytest.mark.parametrize("error", OF_JOB, ids=str)
def test_other_errors_are_the_jobs(error: Exception) -> None:
    assert not is_device_error(error)
    assert not is_out_of_memory(error)


def test_on_a_gpu_internal_and_unknown_errors_are_the_devices(on_gpu: None) -> None:
    assert is_device_error(tf.errors.InternalError(None, None, "no words"))
    assert is_device_error(tf.errors.UnknownError(None, None, ""))
    assert not is_device_error(tf.errors.InvalidArgumentError(None, None, "no words"))


def test_an_error_is_seen_through_what_was_raised_from_it() -> None:
    wrapped = ValueError("wrapped")
    wrapped.__cause__ = OF_DEVICE[0]
    assert is_device_error(wrapped)


@pytest.mark.parametrize(
    ("kind", "spec", "said"),
    [
        ("train", {"batch_size": 256, "units": 512}, "Lower `batch_size` from 256 to 128"),
        ("train", {"batch_size": 20, "units": 512}, "Lower `batch_size` from 20 to 16"),
        ("train", {"batch_size": 8, "units": 512}, "Lower `units` from 512 to 256"),
        ("train", {"batch_size": 8, "units": 32, "window": 96}, "Lower `window` from 96 to 48"),
        ("train", {"batch_size": 1, "units": 8, "window": 4}, "Use fewer `units` or `layers`"),
        ("generate", {"n": 64}, "Lower `n` from 64 to 32"),
        ("generate", {"n": 1}, "Ask for fewer texts at once"),
        ("generate", {"corpus": "…"}, "Ask for fewer texts at once"),
    ],
)
def test_out_of_memory_names_the_number_to_lower(
    kind: str, spec: dict[str, int], said: str
) -> None:
    for error in OF_MEMORY:
        problem = explain(error, kind, spec)
        assert problem["type"] == "/problems/out-of-memory"
        assert said in problem["detail"]


@pytest.mark.parametrize(
    ("current", "peak", "large"),
    [(1 << 30, 60 << 30, True), (50 << 30, 60 << 30, False), (0, 1 << 20, False)],
)
@pytest.mark.usefixtures("on_gpu")
def test_an_arena_stays_large_if_its_peak_is_far_above_its_use(
    monkeypatch: pytest.MonkeyPatch, current: int, peak: int, large: bool
) -> None:
    used = {"current": current, "peak": peak}
    monkeypatch.setattr(tf.config.experimental, "get_memory_info", lambda device: used)
    assert arena_stays_large() is large


def test_on_a_cpu_no_arena_stays() -> None:
    assert not device_errors.arena_stays_large()
