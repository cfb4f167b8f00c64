"""Each process is bound to its device before TensorFlow loads, and a GPU must then be there."""

import os
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import select

from shared.tables import DeviceHealth
from tests.services.waiting import until
from tests.worker.gpu.stub import NvmlStub
from tests.worker.harness import WorkerHarness

#: The cores that this process may use; two devices need two of them.
CORES = sorted(os.sched_getaffinity(0))
UUIDS = ("GPU-11111111-aaaa", "GPU-22222222-bbbb")


def environment_of(pid: int) -> dict[str, str]:
    """The environment that a process was started with."""
    entries = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    return dict(entry.split("=", 1) for entry in entries if "=" in entry)


def health(harness: WorkerHarness, host: str) -> dict[str, DeviceHealth]:
    with harness.engine.connect() as connection:
        columns = DeviceHealth.__table__.columns
        rows = connection.execute(select(*columns).where(DeviceHealth.host == host)).all()
    return {row.device: DeviceHealth(**row._mapping) for row in rows}


def pinned_to(supervisor: int) -> set[str]:
    """What the processes of a supervisor's lanes are bound to."""
    found = set()
    for pid in Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split():
        # One may just be ending.
        with suppress(OSError):
            found.add(environment_of(int(pid)).get("CUDA_VISIBLE_DEVICES", ""))
    return found - {""}


@pytest.mark.slow
def test_a_lane_whose_gpu_tensorflow_does_not_see_is_broken_and_computes_nothing(
    sqlite_harness: WorkerHarness, nvml_stub: NvmlStub
) -> None:
    """NVML shows GPUs that CUDA does not have, as after a container has lost its devices."""
    nvml_stub.shows(f"gpu {UUIDS[0]} H100 81920 0 15\ngpu {UUIDS[1]} H100 81920 0 0\n")
    harness = sqlite_harness
    job = harness.train(epochs=1)
    with harness.worker(
        devices="gpu",
        host="gpus",
        ready=False,
        variables={**nvml_stub.variables, "QUIRE_TRAIN_SLOTS": "1"},
    ) as worker:
        # Probed again after a pause, and broken still.
        until(
            lambda: (found := health(harness, "gpus").get("gpu:1")) and found.failed_probes >= 2,
            "two failed probes",
            90,
        )
        found = health(harness, "gpus")
        assert found["gpu:1"].problem is not None
        # TensorFlow's own reason, which its log hides by default.
        assert found["gpu:1"].problem.startswith("TensorFlow finds no GPU: ")
        assert "cuInit" in found["gpu:1"].problem
        assert found["gpu:1"].retry_at is not None
        # The lost GPU is shown too, and does not end the supervisor.
        assert found["gpu:0"].problem is not None
        assert "GPU is lost" in found["gpu:0"].problem
        rows = {(row.device, row.lane): row for row in harness.devices("gpus")}
        assert set(rows) == {
            (device, lane) for device in ("gpu:0", "gpu:1") for lane in ("train", "generate")
        }
        assert all(row.ready_at is None for row in rows.values())
        row = rows["gpu:1", "train"]
        assert (row.gpu_uuid, row.gpu_name) == (UUIDS[1], "H100")
        assert row.gpu_memory_bytes == int(0.7 * (80 << 30))
        until(lambda: pinned_to(worker.process.pid) == {UUIDS[1]}, "lanes bound to the GPU")
        assert worker.process.poll() is None
        # No lane has claimed the job: on the CPU it would have run by now.
        assert harness.job(job).status == "queued"
        assert harness.count(job, "claimed") == 0
        assert worker.stop() < 20


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
