"""`quire gpu-check`, as far as a machine without a GPU can run it."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from tests.worker.gpu.stub import NvmlStub
from worker.gpu_check import crossover, find_problems, lines_of

FAST = {"ms": 1.0, "characters_per_second": 9e6, "multiply_adds": 1e9}
SLOW = {"ms": 9.0, "characters_per_second": 1e6, "multiply_adds": 1e9}


def gpu_check(*options: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("CUDA_")}
    return subprocess.run(
        [sys.executable, "-m", "quire", "gpu-check", *options],
        env={**environment, **variables},
        capture_output=True,
        text=True,
    )


def test_without_a_card_two_lines_and_exit_3(nvml_stub: NvmlStub) -> None:
    nvml_stub.shows("init 9\n")
    done = gpu_check(**nvml_stub.variables)
    assert done.returncode == 3
    first, second = done.stdout.splitlines()
    assert first.startswith("No GPU can be used: there is no NVIDIA driver")
    assert "docs/gpu.md" in second
    as_json = gpu_check("--json", **nvml_stub.variables)
    assert as_json.returncode == 3
    report = json.loads(as_json.stdout)
    assert report["gpus"] == []
    assert "no NVIDIA driver" in report["problem"]


def test_cards_that_are_not_lent_to_this_process_are_no_cards(nvml_stub: NvmlStub) -> None:
    nvml_stub.shows("gpu GPU-1 H100 81920 0 0\n")
    done = gpu_check(**nvml_stub.variables, CUDA_VISIBLE_DEVICES="")
    assert done.returncode == 3
    assert len(done.stdout.splitlines()) == 2
    assert "leaves none" in done.stdout


@pytest.mark.slow
def test_a_card_that_tensorflow_does_not_see_is_a_problem_in_one_line(
    nvml_stub: NvmlStub,
) -> None:
    nvml_stub.shows("gpu GPU-0 H100 81920 0 15\ngpu GPU-1 H100 81920 0 0\n")
    done = subprocess.run(
        [sys.executable, "-m", "worker.gpu_check", "--tiny", "--json"],
        env={**os.environ, **nvml_stub.variables},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, done.stderr
    report = json.loads(done.stdout)
    lost, unseen = report["gpus"]
    assert "GPU is lost" in lost["problems"][0]
    assert unseen["problems"][0].startswith("TensorFlow finds no GPU: ")
    # The CPU of the same machine is measured whole.
    assert set(report["cpu"]["steps"]) == {"classic", "default", "large"}
    assert all(step["ms"] > 0 for step in report["cpu"]["steps"].values())
    assert all(speed > 0 for speed in report["cpu"]["sampling"].values())
    assert report["cpu"]["checkpoint_seconds"] > 0
    assert [line for line in lines_of(report) if "PROBLEM" in line] == [
        f"  PROBLEM: {problem}" for gpu in report["gpus"] for problem in gpu["problems"]
    ]


@pytest.mark.parametrize(
    ("gpu", "used", "two", "said"),
    [
        ({"steps": {"default": FAST}}, 0.0, 1.6, []),
        ({"steps": {"default": FAST}}, 0.5, None, ["other processes use 50% of its memory"]),
        ({"steps": {"default": FAST}}, 0.0, 0.8, ["two trainings together reach 0.80"]),
        ({"steps": {"default": SLOW}}, 0.0, None, ["a step of default takes 9.00 ms, on the CPU"]),
        ({"problem": "it is broken"}, 0.0, None, ["it is broken"]),
    ],
)
def test_what_is_wrong_is_said_in_one_line_each(
    gpu: dict[str, Any], used: float, two: float | None, said: list[str]
) -> None:
    cpu = {"steps": {"default": {**FAST, "ms": 4.0}}}
    found = find_problems(gpu, cpu, used, two)
    assert len(found) == len(said)
    assert all(part in line for part, line in zip(said, found, strict=True))


def test_the_crossover_is_where_the_gpu_gets_faster() -> None:
    cpu = {"sampling": {"1": 100.0, "32": 1000.0, "512": 2000.0}}
    assert crossover({"sampling": {"1": 50.0, "32": 900.0, "512": 9000.0}}, cpu) == 512
    assert crossover({"sampling": {"1": 150.0, "32": 900.0}}, cpu) == 1
    assert crossover({"sampling": {"1": 50.0}}, cpu) is None
