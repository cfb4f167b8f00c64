"""The API is killed right after a response."""

import psutil
import pytest

from tests.faults.parts import running_api
from tests.worker.harness import Worker, WorkerHarness

pytestmark = pytest.mark.slow


def test_a_202_is_a_committed_row(outage_harness: WorkerHarness, outage_worker: Worker) -> None:
    with running_api(outage_harness) as api:
        processes = [psutil.Process(api.pid), *psutil.Process(api.pid).children()]
        job_id = api.submit(outage_harness)
        for process in processes:
            process.kill()
    assert outage_harness.wait_until_succeeded(job_id).attempt == 1
