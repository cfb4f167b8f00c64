"""Few streams on a GPU's worker go to the CPU, up to a measured crossover."""

import json
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
import structlog

from tests.unit.ml.networks import STATEFUL, count_traces, make_request, make_weights
from worker import warmup
from worker.ml import crossover
from worker.ml.crossover import measure_crossover
from worker.ml.sampling.engine import Engine
from worker.ml.sampling.sampler import EXACT_BUCKETS, Sampler

ON_CPU, ON_GPU = ["cpu on 0"], ["gpu on 1"]


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    """What a process with two devices found, of which the second stands for a GPU."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.unit.ml.two_devices"],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))


def where(texts: list[dict[str, Any]]) -> list[list[str]]:
    return [text["where"] for text in texts]


def test_fewer_texts_than_the_crossover_are_written_by_the_cpu(found: dict[str, Any]) -> None:
    assert where(found["few"]) == [ON_CPU] * 3
    assert where(found["many"]) == [ON_GPU] * 4
    assert where(found["no crossover"]) == [ON_GPU]
    assert where(found["few checkpoints"]) == [ON_CPU] * 2


def test_a_text_stays_where_it_began(found: dict[str, Any]) -> None:
    assert where(found["few, then many"]) == [ON_CPU] * 2 + [ON_GPU] * 7
    assert where(found["many, then few"]) == [ON_GPU] * 6


def test_what_the_cpu_writes_there_has_the_bits_of_a_worker_without_a_gpu(
    found: dict[str, Any],
) -> None:
    texts = [*found["few"], *found["few, then many"][:2], *found["classic"]]
    assert all(text["bits of a CPU"] for text in texts)


def test_a_large_network_a_stack_and_a_batch_no_cpu_holds_stay_on_the_gpu(
    found: dict[str, Any],
) -> None:
    assert where(found["wide"]) == [ON_GPU]
    assert where(found["a stack"]) == [ON_GPU] * 6
    assert where(found["classic"]) == [ON_CPU]
    assert where(found["two of classic"]) == [ON_GPU] * 2


def test_weights_are_on_both_devices(found: dict[str, Any]) -> None:
    half = len(found["weights"]) // 2
    assert found["weights"] == ["1"] * half + ["0"] * half


def test_the_crossover_is_where_the_measured_device_gets_faster(found: dict[str, Any]) -> None:
    streams, multiply_adds, work, step_seconds = found["measured"]
    assert all(seconds > 0 for both in step_seconds.values() for seconds in both)
    faster = [rows for rows, (here, there) in step_seconds.items() if there < here]
    if streams is None:
        assert not faster
        assert list(step_seconds) == ["1", *map(str, EXACT_BUCKETS[1:])]
        assert multiply_adds == work[str(EXACT_BUCKETS[-1])] + 1
    else:
        assert faster == [str(streams)] == list(step_seconds)[-1:]
        assert multiply_adds == work[str(streams)]


@pytest.mark.parametrize(
    ("gpu_seconds", "streams", "rows"), [(1.5e-5, 1, 1), (5e-5, 8, 8), (9.0, None, 32)]
)
def test_the_measured_times_decide(
    gpu_seconds: float, streams: int | None, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a CPU whose step takes as long as its rows, and a GPU whose step does not."""

    def seconds(sampler: Sampler, rows: int) -> float:
        return gpu_seconds if sampler.shape.gpu else 2e-5 * rows

    monkeypatch.setattr(crossover, "step_seconds", seconds)
    sampler = Sampler(make_weights(STATEFUL), STATEFUL, exact=False)
    found = measure_crossover(sampler)
    per_row = sampler.shape.multiply_adds
    assert found.streams == streams
    assert found.multiply_adds == rows * per_row + (streams is None)


def test_a_workers_start_measures_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    sampler = Sampler(make_weights(STATEFUL), STATEFUL, exact=False)
    monkeypatch.setattr(warmup, "_default_sampler", lambda processor: sampler)
    assert warmup.find_crossover("cpu") == 0
    with structlog.testing.capture_logs() as logs:
        found = warmup.find_crossover("gpu")
    (entry,) = logs
    assert entry["event"] == "crossover_measured"
    assert found == entry["multiply_adds"] > 0
    measured = entry["step_microseconds_of_cpu_and_gpu"]
    assert all(len(both) == 2 and min(both) > 0 for both in measured.values())


@pytest.mark.parametrize("above", [True, False])
def test_what_may_go_to_the_cpu_is_compiled_there_before_the_first_text(
    above: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = replace(STATEFUL, units=27 + above)
    sampler = Sampler(make_weights(network), network, exact=False)
    limit = replace(sampler.shape, rows=4).multiply_adds if above else 1
    traces = count_traces(monkeypatch)
    warmup._warm(sampler, limit)
    assert {shape.gpu for shape in traces} == ({True, False} if above else {True})
    traces.clear()
    for count in (1, 5, 40):
        engine = Engine(threads=1, crossover=limit)
        for seed in range(count):
            sequence = sampler.new_sequence(make_request(length=9, seed=seed))
            engine.add(sequence, sampler, owner="ann")
        while len(engine):
            engine.step()
        engine.close()
    assert not traces
