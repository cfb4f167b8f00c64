"""What decides a result on a GPU, beside the network: its model, its driver and their libraries."""

from importlib.metadata import PackageNotFoundError, version
from typing import Any

import pynvml

#: The wheel with the cuDNN that runs; without it, the system's is used.
CUDNN_PACKAGE = "nvidia-cudnn-cu12"


def gpu_facts() -> dict[str, Any]:
    """The model, compute capability, driver, CUDA and cuDNN of the GPU that TensorFlow uses."""
    # Imported here because it takes seconds, and who checks the file of a checkpoint needs none.
    import tensorflow as tf

    gpus = tf.config.get_visible_devices("GPU")
    details = tf.config.experimental.get_device_details(gpus[0]) if gpus else {}
    build = tf.sysconfig.get_build_info()
    return {
        "gpu": str(details.get("device_name", "unknown")),
        "gpu_capability": ".".join(map(str, details.get("compute_capability", ()))),
        "driver": _driver(),
        "cuda": str(build.get("cuda_version", "unknown")),
        "cudnn": _cudnn(str(build.get("cudnn_version", "unknown"))),
    }


def _driver() -> str:
    try:
        pynvml.nvmlInit()
        try:
            return str(pynvml.nvmlSystemGetDriverVersion())
        finally:
            pynvml.nvmlShutdown()
    except pynvml.NVMLError:
        return "unknown"


def _cudnn(built_for: str) -> str:
    try:
        return version(CUDNN_PACKAGE)
    except PackageNotFoundError:
        return built_for
