"""Whether TensorFlow computes on its device, before a worker takes jobs: the values must be right.

TensorFlow falls back to the CPU when it can't use a GPU, and says so only in its silenced log.
"""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import tensorflow as tf

from worker.ml.config import NetworkConfig, TrainConfig, padded_vocabulary
from worker.ml.model import initial_weights, pad
from worker.ml.sampling.device_rng import device_uniforms, pack_streams
from worker.ml.sampling.network import fold_weights
from worker.ml.sampling.rng import SEEDS, uniforms
from worker.ml.sampling.shape import BLOCK, StepShape
from worker.ml.sampling.step import step_function
from worker.ml.training.keras_gradients import KerasGradients
from worker.ml.training.xla_gradients import XlaGradients

#: The largest difference from the CPU's values, relative to the largest of them. TF32 rounds the
#: operands of a product to 11 bits, which costs a tenth of it.
TOLERANCE = 1e-2
#: The network of the probe: small, and of whole tiles.
NETWORK = NetworkConfig(vocabulary_size=60, embedding=32, units=64, layers=2, window=None)
WINDOW, BATCH, ROWS, STEPS = 24, 8, 8, 16
PRODUCT_SIZE = 256
#: What says in TensorFlow's log that a line is an error or a warning, and where it comes from.
_LOG_LINE = re.compile(r"^(?:[\d-]+ [\d:.]+ )?(?P<level>[IWEF])\S* .*?\.cc:\d+\] (?P<text>.*)$")
#: Its line about a library that it could not open, which it writes at a higher verbosity only.
_NOT_OPENED = re.compile(r"Could not load dynamic library '[^']+'; dlerror: (?P<error>[^;\n]+)")
#: How long a process may take to load TensorFlow and to look for GPUs.
LOOK_SECONDS = 120.0


class DeviceBroken(Exception):
    """TensorFlow can't compute on the device; the message says why."""


@dataclass(frozen=True, slots=True)
class FoundGpu:
    """The one GPU that TensorFlow sees.

    Attributes:
        name: The product's name.
        capability: Its compute capability, such as ``9.0``.
        compiled: Whether TensorFlow has programs for it. Otherwise the driver compiles them at the
            first start, which takes minutes, and keeps them in `CUDA_CACHE_PATH`.
    """

    name: str
    capability: str
    compiled: bool


def find_one_gpu() -> FoundGpu:
    """The GPU that TensorFlow sees. Call it before `runtime.configure`, which starts TensorFlow.

    Raises:
        DeviceBroken: TensorFlow sees none, with its own reason, or more than one.
    """
    with captured_stderr() as log:
        gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        reasons = [reason_in(log[0]), *missing_libraries()]
        raise DeviceBroken(f"TensorFlow finds no GPU: {'; '.join(reasons)}")
    if len(gpus) > 1:
        raise DeviceBroken(f"TensorFlow sees {len(gpus)} GPUs in place of one")
    details = tf.config.experimental.get_device_details(gpus[0])
    major, minor = details.get("compute_capability", (0, 0))
    programs = tf.sysconfig.get_build_info().get("cuda_compute_capabilities", [])
    return FoundGpu(
        name=str(details.get("device_name", "unknown")),
        capability=f"{major}.{minor}",
        # "compute_90" stands for both: a program of 9.0, and one to be compiled for newer ones.
        compiled=not {f"sm_{major}{minor}", f"compute_{major}{minor}"}.isdisjoint(programs),
    )


def missing_libraries() -> list[str]:
    """What the linker says of each library of CUDA that TensorFlow could not open.

    TensorFlow's own message only says that some are missing. It names them at a verbosity that it
    takes from its environment once, so a process of its own has to look.
    """
    program = "import tensorflow as tf; tf.config.list_physical_devices('GPU')"
    verbose = {"TF_CPP_MIN_LOG_LEVEL": "0", "TF_CPP_VMODULE": "dso_loader=1"}
    try:
        done = subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | verbose,
            capture_output=True,
            timeout=LOOK_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return []
    return libraries_in(done.stderr.decode(errors="replace"))


def libraries_in(log: str) -> list[str]:
    """The linker's messages in a log of TensorFlow, each once."""
    return list(dict.fromkeys(match["error"].strip() for match in _NOT_OPENED.finditer(log)))


def reason_in(log: str) -> str:
    """What TensorFlow wrote to its log, without its times and source lines."""
    lines = [match for line in log.splitlines() if (match := _LOG_LINE.match(line))]
    said = [match["text"] for match in lines if match["level"] in "WEF"]
    said = said or [match["text"] for match in lines] or [log.strip()]
    return "; ".join(dict.fromkeys(filter(None, said))) or "it gives no reason"


@contextmanager
def captured_stderr() -> Iterator[list[str]]:
    """Keep what C++ writes to standard error inside the block, and pass it on afterwards."""
    sys.stderr.flush()
    kept = [""]
    with tempfile.TemporaryFile() as file:
        saved = os.dup(2)
        try:
            os.dup2(file.fileno(), 2)
            yield kept
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            file.seek(0)
            data = file.read()
            kept[0] = data.decode(errors="replace")
            os.write(2, data)


def probe(processor: Literal["cpu", "gpu"]) -> None:
    """Run a product, an LSTM's training step, a compiled block and random numbers on the device.

    On a GPU the step must call cuDNN. All values must be those that the CPU computes.

    Raises:
        DeviceBroken: The device fails, or computes something else.
    """
    device = "/GPU:0" if processor == "gpu" else "/CPU:0"
    for name, check in (
        ("a product", _product),
        ("an LSTM's training step", _training_step),
        ("a compiled block of sampling", _block),
        ("random numbers", _random_numbers),
    ):
        try:
            found, expected = check(device)
        except DeviceBroken:
            raise
        except Exception as error:
            reason = f"{name} failed on it: {type(error).__name__}: {error}"
            raise DeviceBroken(reason) from error
        compare(name, found, expected)


Values = list[np.ndarray[Any, np.dtype[Any]]]


def compare(name: str, found: Values, expected: Values) -> None:
    """Check that values are the CPU's.

    Raises:
        DeviceBroken: One of the arrays differs by more than `TOLERANCE`, or is not finite.
    """
    for mine, theirs in zip(found, expected, strict=True):
        scale = max(float(np.abs(theirs).max()), 1e-6)
        error = float(np.abs(mine - theirs).max()) / scale
        if not error <= TOLERANCE:
            raise DeviceBroken(
                f"it computes {name} wrongly: {error:.2g} from the CPU's values, where "
                f"{TOLERANCE:g} is allowed"
            )


def _product(device: str) -> tuple[Values, Values]:
    random = np.random.default_rng(0)
    left, right = random.normal(size=(2, PRODUCT_SIZE, PRODUCT_SIZE)).astype(np.float32)
    with tf.device(device):
        found = tf.matmul(tf.constant(left), tf.constant(right)).numpy()
    return [found], [left @ right]


def _training_step(device: str) -> tuple[Values, Values]:
    """Gradients of Keras' layers on the device, and of the hand-written LSTM on the CPU."""
    config = _config()
    random = np.random.default_rng(1)
    weights = pad(initial_weights(config.network, 0), config.network)
    windows = random.integers(0, NETWORK.vocabulary_size, (BATCH, WINDOW + 1)).astype(np.int32)
    shares = np.full(BATCH, 1 / (BATCH * WINDOW), np.float32)

    def run(gradients: Callable[..., Any], on: str) -> Values:
        with tf.device(on):
            tensors = {name: tf.constant(array) for name, array in weights.items()}
            given = tensors, tf.constant(windows), tf.constant(shares)
            if on == "/GPU:0" and not calls_cudnn(gradients, *given):
                raise DeviceBroken("Keras does not run its LSTM on cuDNN there")
            found, loss = gradients(*given)
            return [loss.numpy(), *(found[name].numpy() for name in weights)]

    return (
        run(KerasGradients(config).gradients, device),
        run(XlaGradients(config).gradients, "/CPU:0"),
    )


def calls_cudnn(function: Any, *arguments: Any) -> bool:
    """Whether the graph of a compiled function calls cuDNN's LSTM."""
    graph = function.get_concrete_function(*arguments).graph.as_graph_def()
    nodes = [*graph.node, *(node for each in graph.library.function for node in each.node_def)]
    return any(node.op == "CudnnRNNV3" for node in nodes)


def _block(device: str) -> tuple[Values, Values]:
    """The states and probabilities of a compiled block that reads given tokens.

    A GPU computes it by its own rules.
    """
    size = padded_vocabulary(NETWORK.vocabulary_size)
    on_cpu = StepShape(size, NETWORK.units, NETWORK.layers, None, ROWS, False, True)
    random = np.random.default_rng(2)
    folded = fold_weights(initial_weights(NETWORK, 0), NETWORK)
    known = random.integers(0, NETWORK.vocabulary_size, (BLOCK, ROWS)).astype(np.int32)
    # Random numbers and inverse temperatures, which given tokens don't need.
    ones = np.full((BLOCK, ROWS), 0.5, np.float32)
    zeros = np.zeros(ROWS, np.int32)

    def run(on: str) -> Values:
        shape = replace(on_cpu, gpu=on == "/GPU:0")
        numbers = np.zeros((ROWS, 4), np.int32) if shape.gpu else ones
        with tf.device(on):
            given = (shape.new_state(), zeros, zeros, known, numbers, ones, np.int32(STEPS))
            weights = [tf.constant(array) for array in folded]
            _, logprobs, state = step_function(shape)(weights, *map(tf.constant, given), [])
            return [logprobs.numpy()[:STEPS], state.numpy()]

    return run(device), run("/CPU:0")


def _random_numbers(device: str) -> tuple[Values, Values]:
    """Those of two texts, of which every bit counts: an error of one bit is none of rounding."""
    seeds, positions = (0, SEEDS - 1), (0, 2**33 + 3)
    streams = pack_streams(np.array(seeds, np.uint64), np.array(positions, np.int64))
    with tf.device(device):
        made = tf.function(device_uniforms, jit_compile=True)
        found = made(tf.constant(streams), STEPS).numpy()
    expected = np.stack([uniforms(*text, STEPS) for text in zip(seeds, positions, strict=True)], 1)
    return [found, (found == expected).astype(np.float32)], [expected, np.ones_like(expected)]


def _config() -> TrainConfig:
    return TrainConfig(
        network=NETWORK,
        predict="every",
        window=WINDOW,
        stride=WINDOW,
        batch_size=BATCH,
        optimizer="adam",
        learning_rate=1e-3,
        schedule="constant",
        beta_2=0.99,
        clip_norm=None,
        average_decay=None,
        dropout=0.0,
        epochs=1,
        held_out=0.1,
        seed=0,
        shards=1,
        threads=1,
    )
