"""The graph of a training step as a GPU runs it, built without one.

Keras is told that there is a GPU, so it takes its calls of cuDNN. Such a graph can be built and
counted anywhere; only a GPU can run it.
"""

import importlib
from collections import Counter
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework import kernels

from shared.specs.presets import PRESETS, resolve_train
from worker.ml.config import TrainConfig
from worker.ml.training.dropout import step_masks
from worker.ml.training.optimizer import SLOTS
from worker.ml.training.step import TrainStep, ids_for_gpu, to_device
from worker.ml.training.variables import initial_variables

#: Operations of a step that compute, besides the update, which is one: some 280 for one layer and
#: 375 for two. With two shards there are half as many again.
MOST_OPERATIONS = {1: 310, 2: 410}
LAUNCH_NOTHING = ("Const", "Identity", "NoOp", "Placeholder")
VOCABULARY = 96
#: Kernels that move or only name things run on the host, for every device.
ANYWHERE = {"Placeholder", "NoOp", "_Arg", "_Retval"}


@pytest.fixture
def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    rnn = importlib.import_module("keras.src.backend.tensorflow.rnn")
    monkeypatch.setattr(rnn, "_is_gpu_available", lambda: True)


def config_of(preset: Any, shards: int = 1) -> TrainConfig:
    spec = resolve_train(preset, {}, seed=0, threads=1, shards=shards)
    return TrainConfig.from_spec(spec.model_dump(), VOCABULARY)


@cache
def graph_of(preset: str, shards: int = 1) -> Any:
    """The definition of the graph that runs many steps; nothing is computed for it."""
    config = config_of(preset, shards)
    shapes = config.network.padded_shapes()
    prefixes = ["", *(f"{slot}." for slot in SLOTS[config.optimizer])]
    if config.average_decay is not None:
        prefixes.append("average.")
    state = {
        prefix + name: tf.TensorSpec(shape, tf.float32)
        for prefix in prefixes
        for name, shape in shapes.items()
    }
    masks = step_masks(config, range(1))
    return (
        TrainStep(config, "keras")
        ._run_train.get_concrete_function(
            state,
            tf.TensorSpec((None,), tf.int32),
            tf.TensorSpec((None, config.batch_size), tf.int32),
            tf.TensorSpec((None, 2), tf.float32),
            None if masks is None else tf.TensorSpec((None, *masks.shape[1:]), tf.float32),
            None,
        )
        .graph.as_graph_def()
    )


def operations(graph: Any) -> Counter[str]:
    """How often each operation is in a graph and in the functions that it calls."""
    functions = {each.signature.name: each for each in graph.library.function}

    def count(nodes: Any, times: Counter[str]) -> None:
        for node in nodes:
            times[node.op] += 1
            for name, value in node.attr.items():
                called = functions.get(value.func.name)
                compiled = called is not None and called.attr["_XlaMustCompile"].b
                # The condition of a loop has no operation of the network.
                if called is not None and not compiled and name != "cond":
                    count(called.node_def, times)

    times: Counter[str] = Counter()
    count(graph.node, times)
    return times


def compiled_functions(graph: Any) -> set[str]:
    return {
        each.signature.name for each in graph.library.function if each.attr["_XlaMustCompile"].b
    }


@pytest.mark.usefixtures("as_on_a_gpu")
@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_a_step_calls_cudnn_once_a_layer_and_updates_in_one_compiled_function(
    preset: str,
) -> None:
    config = config_of(preset)
    layers = config.network.layers
    graph = graph_of(preset)
    found = operations(graph)
    assert found["CudnnRNNV3"] == layers
    assert found["CudnnRNNBackpropV3"] == layers
    assert found["While"] + found["StatelessWhile"] == 1, "many steps a call"
    assert len(compiled_functions(graph)) == 1, "the update"
    launched = found.total() - sum(found[name] for name in LAUNCH_NOTHING)
    assert launched <= MOST_OPERATIONS[layers], found.most_common(20)


@pytest.mark.usefixtures("as_on_a_gpu")
def test_shards_would_double_the_calls() -> None:
    """What the worker sets to one on a GPU, whatever the setting says."""
    found = operations(graph_of("default", 2))
    assert found["CudnnRNNV3"] == found["CudnnRNNBackpropV3"] == 2
    assert found.total() > operations(graph_of("default")).total()


@pytest.mark.usefixtures("as_on_a_gpu")
@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_every_large_operation_of_a_step_has_a_kernel_for_gpus(preset: str) -> None:
    """Windows are gathered there too. TensorFlow knows its kernels for GPUs without one."""
    graph = graph_of(preset)
    found = operations(graph)
    registered = {
        op: {kernel.device_type for kernel in kernels.get_registered_kernels_for_op(op).kernel}
        for op in found
    }
    on_host = {op for op, types in registered.items() if types and not types & {"GPU", "DEFAULT"}}
    assert not on_host - ANYWHERE


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32])
def test_ids_are_gathered_from_a_type_that_gpus_gather(dtype: Any) -> None:
    ids = ids_for_gpu(np.arange(7, dtype=dtype))
    assert ids.numpy().tolist() == list(range(7))
    gather = kernels.get_registered_kernels_for_op("GatherV2").kernel
    on_gpu = {
        constraint.allowed_values.list.type[0]
        for kernel in gather
        if kernel.device_type == "GPU"
        for constraint in kernel.constraint
        if constraint.name == "Tparams"
    }
    assert ids.dtype.as_datatype_enum in on_gpu
    assert tf.as_dtype(np.uint8).as_datatype_enum not in on_gpu, "else they need no other type"


def test_a_compiled_update_gives_what_the_cpus_step_gives() -> None:
    config = replace(
        config_of("default"), batch_size=4, window=12, stride=12, dropout=0.0, average_decay=None
    )
    config = replace(config, network=replace(config.network, units=16, embedding=8))
    random = np.random.default_rng(0)
    ids = random.integers(0, VOCABULARY, 400).astype(np.uint8)
    starts = random.integers(0, 300, (3, 4)).astype(np.int32)
    numbers = np.full((3, 2), 1e-3, np.float32)
    results = []
    for backend in ("xla", "keras"):
        state = to_device(initial_variables(config), config.network)
        step = TrainStep(config, backend)  # type: ignore[arg-type]
        results.append(step.train(state, tf.constant(ids), starts, numbers))
    (mine, losses), (theirs, other_losses) = results
    np.testing.assert_allclose(losses, other_losses, atol=1e-4)
    for name, tensor in theirs.items():
        np.testing.assert_allclose(mine[name], tensor, atol=1e-4, err_msg=name)
