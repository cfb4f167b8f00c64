"""The promise of a seed, on real workers: whoever writes beside, and whoever stops in between."""

import random
import time
from dataclasses import replace
from typing import Any

import pytest

from tests.worker.batch_runner import SMALL, make_model
from tests.worker.harness import World, until

pytestmark = pytest.mark.slow

JOBS = 48
#: Those submitted before the worker is asked to stop; the last of them are so long that it has
#: surely not written them by then.
BEFORE, LAST = 24, 3
LONG, SHORT = 100_000, 400
#: Between two submissions, at most.
PAUSE_SECONDS = 0.1
USERS = ("ada", "bob", "grace")
#: Two that may share a step, and one with a window.
NETWORKS = (SMALL, SMALL, replace(SMALL, embedding=0, window=20))


def requests(models: list[str]) -> list[dict[str, Any]]:
    """What is asked for: all kinds of texts, each with a seed of its own."""
    draw = random.Random(3)
    asked = []
    for seed in range(JOBS):
        one: dict[str, Any] = {
            "model_id": draw.choice(models),
            "length": SHORT,
            "temperatures": draw.choice([(0.5,), (0.2, 1.2)]),
            "n": draw.choice([1, 3]),
            "top_k": draw.choice([None, None, 5]),
            "repetition_penalty": draw.choice([1.0, 1.0, 1.3]),
            "seed": seed,
            "logprobs": True,
            "user": USERS[seed % len(USERS)],
        }
        if BEFORE - LAST <= seed < BEFORE:
            one |= {"model_id": models[0], "length": LONG, "n": 1, "temperatures": (0.5,)}
        asked.append(one)
    return asked


def told(world: World, job_id: str) -> list[tuple[object, ...]]:
    """All that a job's texts tell of how they were drawn."""
    return [
        (text.text, text.seed, text.checkpoint_id, text.mean_logprob, text.logprobs)
        for text in world.texts(job_id)
    ]


def test_texts_of_a_crowd_through_a_drain_are_those_of_each_job_alone(sqlite_world: World) -> None:
    world = sqlite_world
    models = [make_model(world, seed, network) for seed, network in enumerate(NETWORKS)]
    asked = requests(models)
    pauses = random.Random(5)
    jobs = []
    with world.worker() as worker:
        for i, each in enumerate(asked):
            if i == BEFORE:
                until(lambda: world.job(jobs[-1]).status == "running", "the last one before")
                worker.process.terminate()
            jobs.append(world.generate(**each))
            time.sleep(pauses.uniform(0, PAUSE_SECONDS))
        worker.process.wait(35)
    with world.worker():
        rows = [world.succeeded(job_id) for job_id in jobs]
        assert any(row.attempt > 1 for row in rows), "the drain gave something back"
        for job_id, each in zip(jobs, asked, strict=True):
            alone = world.succeeded(world.generate(**each))
            assert told(world, job_id) == told(world, alone.id)
