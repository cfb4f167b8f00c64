"""What a GPU can do for Quire, measured without TensorFlow: ``python -m benchmarks.gpu_jax``.

For a machine with JAX and PyTorch for its GPU, and no TensorFlow. Keras, NumPy and this checkout
are all else that it needs. It takes at most eight minutes and prints a line of JSON for each
figure; with `--tiny` it runs anywhere in a minute, so that no time on a card is lost to a slip.

    A  the card, from NVML
    B  `KerasGradients` on JAX: right? on cuDNN? milliseconds of a step
    C  PyTorch's LSTM on cuDNN at the same shapes
    D  the loop of sampling: microseconds of a character
    E  several small trainings as one batched program
    F  a trainer and a sampler as two processes
    G  two and four trainers
"""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

# Before anything imports Keras; whoever imports this module keeps the backend that they have.
if __name__ == "__main__":
    os.environ.setdefault("KERAS_BACKEND", "jax")
    # Several processes share the card in F and G.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

import numpy as np

from worker.ml.config import NetworkConfig, TrainConfig

REFERENCE = Path(__file__).with_name("gpu_reference.json")
TOTAL_SECONDS = 480.0
#: What each part may take at most.
PART_SECONDS = {"A": 5, "B": 130, "C": 60, "D": 110, "E": 60, "F": 35, "G": 60}
#: Units, layers, embedding, window, and what is predicted: those of the presets.
PRESETS: Mapping[str, tuple[int, int, int, int, Any]] = {
    "classic": (128, 1, 0, 60, "last"),
    "default": (256, 1, 64, 96, "every"),
    "large": (512, 2, 128, 128, "every"),
    "modern": (1024, 2, 128, 128, "every"),
}
VOCABULARY = 96
BATCHES, SHARDS = (16, 64, 256), (1, 2)
STREAMS, UNITS = (1, 8, 32, 128, 512, 2048), (128, 256, 512, 1024)
#: The same with `--tiny`.
TINY_PRESETS = {"classic": (8, 1, 0, 6, "last"), "default": (8, 2, 4, 6, "every")}
#: What a process of F and G may take with its start; with `--tiny`, on a busy CPU, ten times that.
PROCESS_SECONDS = 60.0
REFERENCE_SEED, PROJECTIONS = 5, 8
#: Largest difference of a projection, relative to its gradient's norm, that is still right: at full
#: precision, and with TF32.
PRECISE, ROUNDED = 1e-4, 2e-2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the parts, and print their figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_jax")
    parser.add_argument("--tiny", action="store_true", help="tiny sizes, to try it on a CPU")
    parser.add_argument("--parts", default="ABCDEFG", help="the parts to run [default: all]")
    parser.add_argument("--out", type=Path, help="a file for all figures")
    parser.add_argument("--loop", choices=("train", "sample"), help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, default=10.0, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.loop is not None:
        print(json.dumps(run_loop(given.loop, given.seconds, tiny=given.tiny)))
        return 0
    parts = {"A": card, "B": steps, "C": torch_steps, "D": sampling, "E": fused, "F": both,
             "G": trainers}  # fmt: skip
    began, found = time.monotonic(), []
    for name in given.parts:
        limit = min(PART_SECONDS[name], TOTAL_SECONDS - (time.monotonic() - began))
        deadline = time.monotonic() + limit
        try:
            for figure in parts[name](deadline, tiny=given.tiny):
                found.append({"part": name, **figure})
                print(json.dumps(found[-1]), flush=True)
        except Exception as error:
            # One part must not cost the time of the others.
            found.append({"part": name, "error": f"{type(error).__name__}: {error}"})
            print(json.dumps(found[-1]), flush=True)
    if given.out is not None:
        given.out.write_text(json.dumps(found, indent=1))
    return 1 if any("error" in figure or figure.get("right") is False for figure in found) else 0


Figures = Iterator[dict[str, Any]]


def card(deadline: float, *, tiny: bool) -> Figures:
    """A: what NVML and JAX say of the card."""
    import jax

    yield {"jax": jax.__version__, "devices": [str(device) for device in jax.devices()]}
    if importlib.util.find_spec("pynvml") is None:
        yield {"skipped": "pynvml is not installed"}
        return
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        yield {"skipped": f"NVML: {error}"}
        return
    handle = pynvml.nvmlDeviceGetHandleByIndex(0)
    yield {
        "name": str(pynvml.nvmlDeviceGetName(handle)),
        "driver": str(pynvml.nvmlSystemGetDriverVersion()),
        "memory_bytes": int(pynvml.nvmlDeviceGetMemoryInfo(handle).total),
        "capability": list(pynvml.nvmlDeviceGetCudaComputeCapability(handle)),
        "sm_mhz": int(pynvml.nvmlDeviceGetMaxClockInfo(handle, pynvml.NVML_CLOCK_SM)),
        "compute_mode": int(pynvml.nvmlDeviceGetComputeMode(handle)),
    }


def config_of(preset: tuple[int, int, int, int, Any], batch: int) -> TrainConfig:
    """A training of a preset's shape."""
    units, layers, embedding, window, predict = preset
    network = NetworkConfig(
        VOCABULARY, embedding, units, layers, window if predict == "last" else None
    )
    return TrainConfig(
        network=network, predict=predict, window=window, stride=window, batch_size=batch,
        optimizer="adam", learning_rate=1e-3, schedule="constant", beta_2=0.99, clip_norm=None,
        average_decay=None, dropout=0.0, epochs=1, held_out=0.1, seed=0, shards=1, threads=1,
    )  # fmt: skip


def inputs_of(config: TrainConfig, seed: int = 0) -> tuple[dict[str, Any], Any, Any]:
    """Random weights, windows and shares of a step; the same everywhere."""
    random = np.random.default_rng(seed)
    weights = {
        name: (random.normal(size=shape) * 0.08).astype(np.float32)
        for name, shape in config.network.padded_shapes().items()
    }
    shape = (config.batch_size, config.window + 1)
    windows = random.integers(0, VOCABULARY, shape).astype(np.int32)
    shares = np.full(config.batch_size, 1 / config.batch_size, np.float32)
    return weights, windows, shares


def project(gradients: Mapping[str, Any]) -> dict[str, list[float]]:
    """Each gradient's norm, and its products with random vectors of length 1."""
    found = {}
    for name in sorted(gradients):
        flat = np.asarray(gradients[name], np.float64).ravel()
        random = np.random.default_rng(len(flat))
        vectors = random.normal(size=(PROJECTIONS, len(flat)))
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        found[name] = [float(np.linalg.norm(flat)), *(vectors @ flat).tolist()]
    return found


def reference_config() -> TrainConfig:
    """The training whose gradients are stored."""
    return config_of((48, 2, 24, 20, "every"), 8)


def largest_error(gradients: Mapping[str, Any], reference: Mapping[str, list[float]]) -> float:
    """The largest difference of a projection, relative to the gradient's norm."""
    errors = []
    for name, found in project(gradients).items():
        expected = reference[name]
        errors += [abs(a - b) / expected[0] for a, b in zip(found, expected, strict=True)]
    return max(errors)


def steps(deadline: float, *, tiny: bool) -> Figures:
    """B: whether the gradients are right, and how long a step takes."""
    import jax

    from worker.ml.training.keras_gradients import KerasGradients

    config = reference_config()
    reference = json.loads(REFERENCE.read_text())
    for precision, allowed in (("default", ROUNDED), ("highest", PRECISE)):
        with jax.default_matmul_precision(precision):
            found, _ = KerasGradients(config).gradients(*inputs_of(config, REFERENCE_SEED))
        error = largest_error(found, reference)
        yield {"precision": precision, "error": error, "right": error <= allowed}
    for name, preset in (TINY_PRESETS if tiny else PRESETS).items():
        for batch in (4,) if tiny else BATCHES:
            for shards in SHARDS:
                if time.monotonic() > deadline:
                    yield {"skipped": f"{name}, batch {batch}, shards {shards}: no time is left"}
                    continue
                config = config_of(preset, batch // shards)
                gradients = KerasGradients(config).gradients
                given = inputs_of(config)
                program = gradients.lower(*given).compile().as_text()
                # Shards follow each other, as they would on one stream of a card.
                run = partial(_repeat, gradients, given, shards)
                yield {
                    "preset": name, "batch": batch, "shards": shards, "ms": 1000 * _time(run, tiny),
                    "cudnn": "cudnn" in program.lower(),
                }  # fmt: skip


def _repeat(function: Callable[..., Any], given: Sequence[Any], times: int) -> Any:
    return [function(*given) for _ in range(times)]


def torch_steps(deadline: float, *, tiny: bool) -> Figures:
    """C: PyTorch's LSTM, which is what TensorFlow's call of cuDNN would do."""
    if importlib.util.find_spec("torch") is None:
        yield {"skipped": "PyTorch is not installed"}
        return
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    for name, (units, layers, embedding, window, _) in (TINY_PRESETS if tiny else PRESETS).items():
        for batch in (4,) if tiny else BATCHES:
            for mode in ("fp32", "tf32", "bf16"):
                if time.monotonic() > deadline:
                    yield {"skipped": f"{name}, batch {batch}, {mode}: no time is left"}
                    continue
                torch.backends.cudnn.allow_tf32 = mode == "tf32"
                torch.backends.cuda.matmul.allow_tf32 = mode == "tf32"
                kind = torch.bfloat16 if mode == "bf16" else torch.float32
                lstm = torch.nn.LSTM(embedding or VOCABULARY, units, layers).to(device, kind)
                head = torch.nn.Linear(units, VOCABULARY).to(device, kind)
                given = torch.randn(window, batch, embedding or VOCABULARY).to(device, kind)

                def run(lstm: Any = lstm, head: Any = head, given: Any = given) -> None:
                    lstm.zero_grad()
                    head(lstm(given)[0]).float().square().mean().backward()
                    if device == "cuda":
                        torch.cuda.synchronize()

                yield {
                    "preset": name, "batch": batch, "mode": mode, "device": device,
                    "ms": 1000 * _time(run, tiny),
                }  # fmt: skip


def sampling(deadline: float, *, tiny: bool) -> Figures:
    """D: characters a second of the loop, with an open and with a fixed number of steps."""
    count = 16 if tiny else 256
    for units in (8,) if tiny else UNITS:
        for rows in (1, 4) if tiny else STREAMS:
            for fixed in (False, True):
                if time.monotonic() > deadline:
                    yield {"skipped": f"{units} units, {rows} rows: no time is left"}
                    continue
                run = sampling_loop(units, rows, count, fixed=fixed)
                seconds = _time(run, tiny)
                yield {
                    "units": units, "rows": rows, "fixed": fixed,
                    "us_a_step": 1e6 * seconds / count,
                    "characters_per_second": rows * count / seconds,
                }  # fmt: skip


def sampling_loop(units: int, rows: int, count: int, *, fixed: bool) -> Callable[[], Any]:
    """The loop of worker/ml/sampling/step.py for one layer: look-up, product, gates, head, draw."""
    import jax
    import jax.numpy as jnp

    random = np.random.default_rng(0)
    table, recurrent, head = (
        jnp.asarray(random.normal(size=shape) * 0.08, jnp.float32)
        for shape in ((VOCABULARY, 4 * units), (units, 4 * units), (units, VOCABULARY))
    )
    uniform = jnp.asarray(random.uniform(size=(count, rows)), jnp.float32)

    def body(index: Any, loop: Any) -> Any:
        h, c, last, text = loop
        gates = jnp.tanh(table[last] + h @ recurrent)
        i, f, g, o = jnp.split(gates, 4, 1)
        c = (0.5 + 0.5 * f) * c + (0.5 + 0.5 * i) * g
        h = (0.5 + 0.5 * o) * jnp.tanh(c)
        logits = h @ head
        sums = jnp.cumsum(jnp.exp(logits - logits.max(1, keepdims=True)), 1)
        last = (sums <= (uniform[index] * sums[:, -1])[:, None]).sum(1).astype(jnp.int32)
        last = jnp.minimum(last, VOCABULARY - 1)
        return h, c, last, text.at[index].set(last)

    def run(steps: Any) -> Any:
        zeros = jnp.zeros((rows, units), jnp.float32)
        start = zeros, zeros, jnp.zeros(rows, jnp.int32), jnp.zeros((count, rows), jnp.int32)
        # A number that is known when it is compiled becomes a scan, one that is not a loop.
        return jax.lax.fori_loop(0, steps, body, start)[3]

    compiled = jax.jit(run, static_argnums=0 if fixed else ())
    return lambda: compiled(count)


def fused(deadline: float, *, tiny: bool) -> Figures:
    """E: K small trainings as one batched program, against K one after the other."""
    import jax

    units, window, batch = (8, 6, 4) if tiny else (128, 96, 16)
    gradients = jax.grad(partial(_scanned_loss, units=units))
    for count in (1, 2) if tiny else (1, 4, 16, 64):
        if time.monotonic() > deadline:
            yield {"skipped": f"{count} trainings: no time is left"}
            continue
        random = np.random.default_rng(0)
        shapes = ((VOCABULARY, 4 * units), (units, 4 * units), (units, VOCABULARY))
        weights = [
            (random.normal(size=(count, *shape)) * 0.08).astype(np.float32) for shape in shapes
        ]
        windows = random.integers(0, VOCABULARY, (count, window + 1, batch)).astype(np.int32)
        together = jax.jit(jax.vmap(gradients))
        alone = jax.jit(gradients)

        def one_by_one(
            alone: Any = alone, weights: Any = weights, windows: Any = windows, n: int = count
        ) -> Any:
            return [alone([each[k] for each in weights], windows[k]) for k in range(n)]

        one, many = _time(one_by_one, tiny), _time(partial(together, weights, windows), tiny)
        yield {"trainings": count, "ms": 1000 * many, "ms_one_by_one": 1000 * one,
               "gain": one / many}  # fmt: skip


def _scanned_loss(weights: Any, windows: Any, *, units: int) -> Any:
    import jax
    import jax.numpy as jnp

    table, recurrent, head = weights
    zeros = jnp.zeros((windows.shape[1], units), jnp.float32)

    def step(carry: Any, drive: Any) -> Any:
        h, c = carry
        i, f, g, o = jnp.split(drive + h @ recurrent, 4, 1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    _, hidden = jax.lax.scan(step, (zeros, zeros), table[windows[:-1]])
    scores = jax.nn.log_softmax(hidden @ head)
    return -jnp.take_along_axis(scores, windows[1:, :, None], 2).mean()


def both(deadline: float, *, tiny: bool) -> Figures:
    """F: a trainer and a sampler as two processes, each against itself alone."""
    seconds = 1.0 if tiny else 6.0
    alone = {kind: _processes([kind], seconds, tiny)[0]["per_second"] for kind in LOOPS}
    beside = _processes(list(LOOPS), seconds, tiny)
    for kind, found in zip(LOOPS, beside, strict=True):
        yield {"loop": kind, "alone": alone[kind], "beside": found["per_second"],
               "share": found["per_second"] / alone[kind]}  # fmt: skip


def trainers(deadline: float, *, tiny: bool) -> Figures:
    """G: trainers beside each other; run it again under MPS, which it notes."""
    seconds = 1.0 if tiny else 6.0
    directory = os.environ.get("CUDA_MPS_PIPE_DIRECTORY", "/tmp/nvidia-mps")  # noqa: S108
    mps = (Path(directory) / "control").exists()
    one = _processes(["train"], seconds, tiny)[0]["per_second"]
    for count in (2,) if tiny else (2, 4):
        found = _processes(["train"] * count, seconds, tiny)
        total = sum(each["per_second"] for each in found)
        yield {"trainers": count, "mps": mps, "alone": one, "together": total,
               "gain": total / one}  # fmt: skip


LOOPS = ("train", "sample")


def _processes(kinds: Sequence[str], seconds: float, tiny: bool) -> list[dict[str, Any]]:
    options = ["--seconds", str(seconds), *(["--tiny"] if tiny else [])]
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "benchmarks.gpu_jax", "--loop", kind, *options],
            stdout=subprocess.PIPE,
            text=True,
        )
        for kind in kinds
    ]
    limit = PROCESS_SECONDS * (10 if tiny else 1)
    try:
        outputs = [process.communicate(timeout=limit)[0] for process in running]
    finally:
        for process in running:
            process.kill()
    return [json.loads(output.splitlines()[-1]) for output in outputs]


def run_loop(kind: str, seconds: float, *, tiny: bool) -> dict[str, Any]:
    """One process of F and G: steps of `default`, or characters of 32 streams, a second."""
    import jax

    if kind == "train":
        from worker.ml.training.keras_gradients import KerasGradients

        preset = TINY_PRESETS["default"] if tiny else PRESETS["default"]
        config = config_of(preset, 4 if tiny else 16)
        run: Callable[[], Any] = partial(KerasGradients(config).gradients, *inputs_of(config))
        per_call = 1
    else:
        units, rows, count = (8, 4, 16) if tiny else (256, 32, 64)
        run, per_call = sampling_loop(units, rows, count, fixed=False), rows * count
    jax.block_until_ready(run())
    # Those that start together have all compiled by now, or nearly.
    began, calls = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        jax.block_until_ready(run())
        calls += 1
    return {"loop": kind, "per_second": calls * per_call / (time.perf_counter() - began)}


def _time(run: Callable[[], Any], tiny: bool) -> float:
    """Seconds of one call, after one that compiles."""
    import jax

    jax.block_until_ready(run())
    began, calls = time.perf_counter(), 0
    while time.perf_counter() - began < (0.02 if tiny else 0.8):
        jax.block_until_ready(run())
        calls += 1
    return (time.perf_counter() - began) / calls


if __name__ == "__main__":
    sys.exit(main())
