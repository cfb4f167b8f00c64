"""TensorFlow's process-wide settings, set once before it runs anything."""

from typing import Literal

import tensorflow as tf


class RuntimeStarted(RuntimeError):
    """TensorFlow already runs in this process with other settings; use a new process."""


def configure(threads: int, device: Literal["cpu", "gpu"], memory_bytes: int | None = None) -> None:
    """Set what decides the bits of a result and how much of the machine it uses.

    Args:
        threads: Threads of one operation, and operations that run in parallel. With 1, the shards
            of a batch run one after the other.
        device: "cpu" hides every GPU; "gpu" allocates its memory as needed, not all at once.
        memory_bytes: The most GPU memory to use; None sets no limit.

    Raises:
        RuntimeStarted: TensorFlow has already run something.
    """
    try:
        if tf.config.threading.get_intra_op_parallelism_threads() != threads:
            tf.config.threading.set_intra_op_parallelism_threads(threads)
        if tf.config.threading.get_inter_op_parallelism_threads() != threads:
            tf.config.threading.set_inter_op_parallelism_threads(threads)
        if device == "cpu":
            tf.config.set_visible_devices([], "GPU")
        for gpu in tf.config.get_visible_devices("GPU"):
            if memory_bytes is None:
                tf.config.experimental.set_memory_growth(gpu, True)
            else:
                bound = tf.config.LogicalDeviceConfiguration(memory_limit=memory_bytes >> 20)
                tf.config.set_logical_device_configuration(gpu, [bound])
    except RuntimeError as error:
        raise RuntimeStarted(f"TensorFlow already runs with other settings: {error}") from error
    tf.config.experimental.enable_op_determinism()
