"""Where a GPU gets faster than the CPU of its machine at writing, measured when a worker starts."""

import time
from dataclasses import dataclass, replace

import numpy as np

from worker.ml.sampling.request import SamplingRequest
from worker.ml.sampling.sampler import Sampler

#: Tokens of each measured text, and how often each figure is measured; the shortest time counts.
STEPS, ROUNDS = 64, 3


@dataclass(frozen=True, slots=True)
class Crossover:
    """What was measured.

    Attributes:
        streams: The fewest measured texts at once that the GPU writes faster; None if the CPU wrote
            a full batch faster.
        multiply_adds: The products of a step at that point. A GPU's step takes about equally long
            for few rows of any network and a CPU's as long as its products, so networks of other
            sizes are compared by them.
        step_seconds: Of each number of texts, the seconds of a step on the CPU and on the GPU.
    """

    streams: int | None
    multiply_adds: int
    step_seconds: dict[int, tuple[float, float]]


def measure_crossover(sampler: Sampler) -> Crossover:
    """Let the CPU and the sampler's device write 1, 8, … texts, until the latter is faster.

    Args:
        sampler: A GPU's, of a network without a window.
    """
    cpu = sampler.on_cpu
    found: dict[int, tuple[float, float]] = {}
    for rows in (1, *cpu.buckets[1:]):
        found[rows] = step_seconds(cpu, rows), step_seconds(sampler, rows)
        here, there = found[rows]
        work = replace(sampler.shape, rows=rows).multiply_adds
        if there < here:
            return Crossover(rows, work, found)
    return Crossover(None, work + 1, found)


def step_seconds(sampler: Sampler, rows: int) -> float:
    """The time of a step of so many texts, in calls as the engine makes them."""
    requests = [
        SamplingRequest(np.zeros(1, np.int32), STEPS, 1.0, None, None, seed) for seed in range(rows)
    ]
    sampler.generate(requests)  # compiles
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        sampler.generate(requests)
        times.append((time.perf_counter() - began) / STEPS)
    return min(times)
