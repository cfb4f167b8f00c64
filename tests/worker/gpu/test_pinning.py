"""Each process is bound to its device before TensorFlow loads."""

import os
from pathlib import Path

import pytest

from tests.worker.harness import WorkerHarness

FAKES = Path(__file__).parent / "fakes"
#: The cores that this process may use; two devices need two of them.
CORES = sorted(os.sched_getaffinity(0))


def environment_of(pid: int) -> dict[str, str]:
    """The environment that a process was started with."""
    entries = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    return dict(entry.split("=", 1) for entry in entries if "=" in entry)


@pytest.mark.slow
def test_every_lane_of_a_gpu_sees_only_that_gpu(sqlite_harness: WorkerHarness) -> None:
    uuids = ["GPU-11111111-aaaa", "GPU-22222222-bbbb"]
    variables = {
        "PYTHONPATH": f"{FAKES}{os.pathsep}{os.environ.get('PYTHONPATH', '')}".rstrip(os.pathsep),
        "QUIRE_TEST_GPUS": ",".join(uuids),
    }
    with sqlite_harness.worker(devices=uuids[1], host="gpus", variables=variables):
        rows = sqlite_harness.devices("gpus")
        assert [(row.device, row.lane) for row in rows] == [
            ("gpu:1", "generate"),
            ("gpu:1", "train"),
        ]
        for row in rows:
            assert (row.gpu_uuid, row.gpu_name) == (uuids[1], "Test GPU 1")
            assert environment_of(row.pid)["CUDA_VISIBLE_DEVICES"] == uuids[1]


@pytest.mark.slow
@pytest.mark.skipif(len(CORES) < 2, reason="needs two cores")
def test_every_lane_of_a_core_runs_only_on_that_core(sqlite_harness: WorkerHarness) -> None:
    first, second = CORES[:2]
    with sqlite_harness.worker(devices=f"cpu:{first},cpu:{second}", host="cores"):
        rows = sqlite_harness.devices("cores")
        pinned = {(row.device, row.lane): os.sched_getaffinity(row.pid) for row in rows}
        assert pinned == {
            (f"cpu:{core}", lane): {core}
            for core in (first, second)
            for lane in ("generate", "train")
        }
        assert all(environment_of(row.pid)["CUDA_VISIBLE_DEVICES"] == "-1" for row in rows)
        # Both devices work, and at the same time.
        jobs = [sqlite_harness.train(epochs=60) for _ in range(2)]
        ran_on = {sqlite_harness.wait_until_succeeded(job).worker_id for job in jobs}
        assert ran_on == {f"cores/cpu:{core}/train" for core in (first, second)}
