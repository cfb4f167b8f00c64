"""A device fails under a job: the job goes on later, and the device takes no more until probed."""

from collections.abc import Iterator

import pytest
from sqlalchemy import select

from shared import device_health
from shared.tables import JobEvent
from tests.faults.parts import FAULT, digest, train
from tests.worker.harness import Worker, WorkerHarness, until

pytestmark = pytest.mark.slow
HOST = "faulty"
EPOCHS = 12
#: Longer than the test takes to see it, and than a worker takes to start.
QUARANTINE_SECONDS = 12


@pytest.fixture(scope="module")
def worker(sqlite_harness: WorkerHarness) -> Iterator[Worker]:
    """A worker whose device the first error quarantines."""
    variables = {
        "QUIRE_FAILPOINT": FAULT,
        "QUIRE_DEVICE_FAULTS": "1",
        "QUIRE_DEVICE_QUARANTINE_SECONDS": str(QUARANTINE_SECONDS),
    }
    with sqlite_harness.worker(host=HOST, variables=variables) as worker:
        yield worker


def ready(harness: WorkerHarness) -> set[str]:
    return {row.lane for row in harness.devices(HOST) if row.ready_at is not None}


def returns(harness: WorkerHarness, job: str) -> list[dict[str, str]]:
    with harness.reading() as session:
        query = select(JobEvent.data).where(JobEvent.job_id == job, JobEvent.type == "queued")
        return [data for data in session.scalars(query) if data.get("reason") == "device_failed"]


def test_out_of_memory_fails_its_job_alone_with_the_number_to_lower(
    sqlite_harness: WorkerHarness, worker: Worker
) -> None:
    harness = sqlite_harness
    job = harness.wait_until_ended(
        train(harness, name=FAULT + "out-of-memory", units=96), seconds=60
    )
    assert job.error is not None
    assert job.error["type"] == "/problems/out-of-memory"
    # Its batch has no room below it.
    assert "Lower `units` from 96 to 64" in job.error["detail"]
    assert device_health.find_problem(harness.engine, HOST, "cpu") is None
    harness.wait_until_succeeded(train(harness, epochs=1), seconds=60)


def test_a_failed_device_gives_its_job_back_and_is_quarantined_until_a_probe(
    sqlite_harness: WorkerHarness, worker: Worker
) -> None:
    harness = sqlite_harness
    undisturbed = train(harness, epochs=EPOCHS)
    harness.wait_until_succeeded(undisturbed, seconds=90)
    failing = train(harness, epochs=EPOCHS, name=FAULT + "device-error")
    behind = train(harness, epochs=1)
    found = until(
        lambda: device_health.find_problem(harness.engine, HOST, "cpu"), "the quarantine", 60
    )
    assert found.quarantined
    assert "CUDNN_STATUS_EXECUTION_FAILED" in found.problem
    # Both lanes of the device leave it, and nothing runs there meanwhile.
    until(lambda: not ready(harness), "both lanes to leave")
    job = harness.job(failing)
    assert (job.status, job.fruitless_attempts, job.error) == ("queued", 0, None)
    assert harness.job(behind).status == "queued"
    assert [data["device"] for data in returns(harness, failing)] == [f"{HOST}/cpu"]
    # A passed probe frees it.
    until(lambda: ready(harness) == {"train", "generate"}, "both lanes to be back", 90)
    assert device_health.find_problem(harness.engine, HOST, "cpu") is None
    assert "device_freed" in worker.log
    assert harness.wait_until_succeeded(failing, seconds=90).attempt == 2
    assert digest(harness, failing) == digest(harness, undisturbed)
    harness.wait_until_succeeded(behind, seconds=60)
