"""Measures a device for `quire gpu-check`: ``python -m worker.gpu_measure`` prints JSON.

It runs in a process of its own for each device, bound to it before TensorFlow loads.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from shared.specs.presets import PRESETS, resolve_train
from worker.data.model_cache import Processor, backend_of, make_sampler
from worker.ml import probe, runtime
from worker.ml.checkpoint import TrainingState, pack
from worker.ml.config import TrainConfig
from worker.ml.model import initial_weights
from worker.ml.sampling.request import SamplingRequest
from worker.ml.training.dropout import step_masks
from worker.ml.training.step import ids_for_gpu, on_device, to_device, train_step
from worker.ml.training.variables import initial_variables, to_checkpoint

VOCABULARY = 96
CHARACTERS = 200_000
STREAMS = (1, 32, 512, 2048)
#: How long each figure is measured at least, after what compiles.
SECONDS = 2.0
#: What `--tiny` changes, so that tests need no minutes.
TINY = {"units": 16, "layers": 1, "embedding": 8, "window": 12, "batch_size": 4}
TINY_STREAMS, TINY_SECONDS = (1, 8), 0.05


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print JSON; a device that does not compute gives ``{"problem": …}``."""
    parser = argparse.ArgumentParser(prog="python -m worker.gpu_measure")
    parser.add_argument("processor", choices=("cpu", "gpu"))
    parser.add_argument("--steps-only", action="store_true", help="one preset's step alone")
    parser.add_argument("--tiny", action="store_true", help="tiny networks, for tests")
    given = parser.parse_args(arguments)
    try:
        found = measure(given.processor, tiny=given.tiny, steps_only=given.steps_only)
    except probe.DeviceBroken as error:
        found = {"problem": str(error)}
    print(json.dumps(found))
    return 0


def measure(
    processor: Processor, *, tiny: bool = False, steps_only: bool = False
) -> dict[str, Any]:
    """Probe a device, then measure it.

    Returns:
        ``steps``: of each preset the milliseconds of a step and the characters per second;
        ``sampling``: characters per second of all streams by their number; and
        ``checkpoint_seconds`` of the largest preset.

    Raises:
        DeviceBroken: The device is not there, or does not compute as it should.
    """
    gpu = probe.find_one_gpu() if processor == "gpu" else None
    runtime.configure(os.cpu_count() or 1, processor)
    probe.probe(processor)
    presets = ["default"] if steps_only else list(PRESETS)
    found: dict[str, Any] = {
        "steps": {name: _step(_config(name, tiny), processor, tiny) for name in presets}
    }
    if gpu is not None:
        found["gpu"] = {"name": gpu.name, "capability": gpu.capability, "compiled": gpu.compiled}
    if not steps_only:
        streams = TINY_STREAMS if tiny else STREAMS
        found["sampling"] = {str(n): _sampling(n, processor, tiny) for n in streams}
        found["checkpoint_seconds"] = _checkpoint_seconds(_config("large", tiny))
    return found


def _config(preset: Any, tiny: bool) -> TrainConfig:
    changes = TINY if tiny else {}
    spec = resolve_train(preset, changes, seed=0, threads=os.cpu_count() or 1, shards=2)
    return TrainConfig.from_spec(spec.model_dump(), VOCABULARY)


def _step(config: TrainConfig, processor: Processor, tiny: bool) -> dict[str, float]:
    if processor == "gpu":
        config = replace(config, shards=1)
    random = np.random.default_rng(0)
    text = random.integers(0, VOCABULARY, CHARACTERS).astype(np.uint8)
    ids = ids_for_gpu(text) if processor == "gpu" else on_device(text)
    state = to_device(initial_variables(config), config.network)
    step = train_step(config, backend_of(processor))
    steps = 1 if tiny else 20
    starts = random.integers(0, CHARACTERS - config.window - 2, (steps, config.batch_size))
    numbers = np.full((steps, 2), 1e-4, np.float32)
    masks = step_masks(config, range(steps))

    def run() -> None:
        step.train(state, ids, starts.astype(np.int32), numbers, masks)

    seconds = _time(run, tiny) / steps
    return {
        "ms": 1000 * seconds,
        "characters_per_second": config.batch_size * config.window / seconds,
        "multiply_adds": float(_multiply_adds(config)),
    }


def _multiply_adds(config: TrainConfig) -> int:
    """Of one step: three passes over all positions."""
    network = config.network
    inputs, total = network.embedding or 0, 0
    for _ in range(network.layers):
        total += 4 * network.units * (inputs + network.units)
        inputs = network.units
    positions = config.batch_size * config.window
    outputs = config.batch_size if config.predict == "last" else positions
    return 3 * (positions * total + outputs * network.units * VOCABULARY)


def _sampling(streams: int, processor: Processor, tiny: bool) -> float:
    network = _config("default", tiny).network
    sampler = make_sampler(initial_weights(network, 0), network, processor)
    length = 16 if tiny else 256
    requests = [
        SamplingRequest(np.zeros(1, np.int32), length, 1.0, None, None, seed)
        for seed in range(streams)
    ]
    return streams * length / _time(lambda: sampler.generate(requests), tiny)


def _checkpoint_seconds(config: TrainConfig) -> float:
    variables = initial_variables(config)
    weights, training = to_checkpoint(variables, config)
    state = TrainingState(
        weights=weights,
        training=training,
        network=config.network,
        characters="".join(chr(0x4E00 + number) for number in range(VOCABULARY)),
        lowercase=False,
    )
    started = time.perf_counter()
    pack(state)
    return time.perf_counter() - started


def _time(run: Callable[[], object], tiny: bool) -> float:
    """Seconds of one call, after one that compiles."""
    run()
    started, calls = time.perf_counter(), 0
    while time.perf_counter() - started < (TINY_SECONDS if tiny else SECONDS):
        run()
        calls += 1
    return (time.perf_counter() - started) / calls


if __name__ == "__main__":
    sys.exit(main())
