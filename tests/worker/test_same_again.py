"""A seed gives the same text on real workers, whatever else runs and whatever is interrupted."""

import random
import time
from dataclasses import replace
from typing import Any

import pytest

from tests.worker.batch_runner import SMALL, make_model
from tests.worker.harness import WorkerHarness, until

pytestmark = pytest.mark.slow

JOBS = 48
#: Jobs submitted before the worker is asked to stop. The last of them are so long that they are
#: surely unfinished by then.
BEFORE, LAST = 24, 3
LONG, SHORT = 100_000, 400
#: The longest pause between two submissions.
PAUSE_SECONDS = 0.1
USERS = ("ada", "bob", "grace")
#: Two networks that may share a step, and one with a window.
NETWORKS = (SMALL, SMALL, replace(SMALL, embedding=0, window=20))


def requests(models: list[str]) -> list[dict[str, Any]]:
    """Requests for all kinds of texts, request with its own seed."""
    draw = random.Random(3)
    asked = []
    for seed in range(JOBS):
        request: dict[str, Any] = {
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
            request |= {"model_id": models[0], "length": LONG, "n": 1, "temperatures": (0.5,)}
        asked.append(request)
    return asked


def results(harness: WorkerHarness, job_id: str) -> list[tuple[object, ...]]:
    """A job's texts, and how they were sampled."""
    return [
        (text.text, text.seed, text.checkpoint_id, text.mean_logprob, text.logprobs)
        for text in harness.texts(job_id)
    ]


def test_texts_of_a_crowd_through_a_drain_are_those_of_each_job_alone(
    sqlite_harness: WorkerHarness,
) -> None:
    harness = sqlite_harness
    models = [make_model(harness, seed, network) for seed, network in enumerate(NETWORKS)]
    asked = requests(models)
    pauses = random.Random(5)
    jobs = []
    with harness.worker() as worker:
        for i, request in enumerate(asked):
            if i == BEFORE:
                until(
                    lambda: harness.job(jobs[-1]).status == "running",
                    "the last job before the stop",
                )
                worker.process.terminate()
            jobs.append(harness.generate(**request))
            time.sleep(pauses.uniform(0, PAUSE_SECONDS))
        worker.process.wait(35)
    with harness.worker():
        rows = [harness.wait_until_succeeded(job_id) for job_id in jobs]
        assert any(row.attempt > 1 for row in rows), "the drain interrupted a job"
        for job_id, request in zip(jobs, asked, strict=True):
            alone = harness.wait_until_succeeded(harness.generate(**request))
            assert results(harness, job_id) == results(harness, alone.id)
