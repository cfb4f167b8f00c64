"""The API is killed just after it has answered."""

import psutil
import pytest

from tests.faults.parts import running_api
from tests.worker.harness import Worker, World

pytestmark = pytest.mark.slow


def test_a_202_is_a_committed_row(deprived: World, deprived_worker: Worker) -> None:
    with running_api(deprived) as api:
        processes = [psutil.Process(api.pid), *psutil.Process(api.pid).children()]
        job_id = api.submit(deprived)
        for process in processes:
            process.kill()
    assert deprived.succeeded(job_id).attempt == 1
