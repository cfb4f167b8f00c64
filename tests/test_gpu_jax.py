"""benchmarks/gpu_jax.py with tiny sizes, so that no time on a card is lost to a slip."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.gpu_jax import (
    PRECISE,
    REFERENCE,
    REFERENCE_SEED,
    ROUNDED,
    inputs_of,
    largest_error,
    reference_config,
)
from worker.ml.training.xla_gradients import XlaGradients

#: Python with JAX and Keras, if the tests' own has no JAX.
PYTHON = os.environ.get("QUIRE_TEST_JAX_PYTHON", sys.executable)


def gradients() -> dict[str, Any]:
    found, _ = XlaGradients(reference_config()).gradients(
        *inputs_of(reference_config(), REFERENCE_SEED)
    )
    return {name: array.numpy() for name, array in found.items()}


def test_the_stored_reference_is_what_the_cpu_computes() -> None:
    reference = json.loads(REFERENCE.read_text())
    found = gradients()
    assert set(found) == set(reference)
    assert largest_error(found, reference) <= PRECISE


def test_a_wrong_gradient_is_seen() -> None:
    reference = json.loads(REFERENCE.read_text())
    found = gradients()
    name = "lstm.1.recurrent_kernel"
    wrong = np.roll(found[name], 1, axis=1)
    assert largest_error(found | {name: wrong}, reference) > ROUNDED
    assert largest_error(found | {name: found[name] * 1.05}, reference) > ROUNDED


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("jax") is None and "QUIRE_TEST_JAX_PYTHON" not in os.environ,
    reason="JAX is not installed (QUIRE_TEST_JAX_PYTHON may name a Python that has it)",
)
def test_every_part_runs(tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    done = subprocess.run(
        [PYTHON, "-m", "benchmarks.gpu_jax", "--tiny", "--out", str(out)],
        env={**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
    )
    figures = json.loads(out.read_text())
    assert done.returncode == 0, figures
    assert [json.loads(line) for line in done.stdout.splitlines()] == figures
    by_part: dict[str, list[dict[str, Any]]] = {}
    for figure in figures:
        by_part.setdefault(figure["part"], []).append(figure)
    assert list(by_part) == list("ABCDEFG")
    assert [figure["right"] for figure in by_part["B"] if "right" in figure] == [True, True]
    assert {(f["preset"], f["shards"]) for f in by_part["B"] if "ms" in f} == {
        (preset, shards) for preset in ("classic", "default") for shards in (1, 2)
    }
    assert all(figure["us_a_step"] > 0 for figure in by_part["D"])
    assert {figure["trainings"] for figure in by_part["E"]} == {1, 2}
    assert {figure["loop"] for figure in by_part["F"]} == {"train", "sample"}
    assert all(figure["gain"] > 0 for figure in by_part["G"])
