"""wakes: some are stolen, and one is repeated a thousand times."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.parts import Api, Redis, assert_consistent
from tests.worker.harness import Worker, WorkerHarness, until
from worker.maintenance import WAIT_SECONDS

pytestmark = pytest.mark.slow

THIEF = """
import sys, redis
client = redis.Redis.from_url(sys.argv[1], socket_timeout=None)
with open(sys.argv[2], "ab", buffering=0) as loot:
    while True:
        _, message = client.brpop(["train", "generate"])
        loot.write(message + b"\\n")
"""
DUPLICATES = 1000
#: A wake counts as lost after `WAIT_SECONDS`. Each sweep, one in 0.5 s, then sends it again; the
#: thief may take every other one of those too. The rest is time for a busy machine.
SWEPT_SECONDS = WAIT_SECONDS + 3 * 0.5 + 5.0


@contextmanager
def thief(url: str, loot: Path) -> Iterator[None]:
    """Run a process that takes wakes as the workers do."""
    process = subprocess.Popen([sys.executable, "-c", THIEF, url, str(loot)])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def test_wakes(
    outage_harness: WorkerHarness,
    outage_worker: Worker,
    broker_server: Redis,
    api: Api,
    tmp_path: Path,
) -> None:
    harness, loot = outage_harness, tmp_path / "loot"
    # Redis serves the thief and the worker in turn: each gets every other message.
    submitted = []
    with thief(broker_server.url, loot):
        until(lambda: waiters(broker_server) >= 3, "the thief")
        while not (loot.exists() and loot.read_bytes().count(b"\n") >= 2):
            submitted.append(api.submit(harness))
            harness.wait_until_succeeded(submitted[-1])
    taken = {json.loads(line)["headers"]["id"] for line in loot.read_bytes().splitlines()}
    for job_id in submitted:
        assert harness.count(job_id, "claimed") == 1
        assert harness.wait_seconds(job_id) < SWEPT_SECONDS
    # Only the sweep can have found the stolen ones.
    assert max(harness.wait_seconds(job_id) for job_id in taken) > WAIT_SECONDS
    stolen, *_ = loot.read_bytes().splitlines()
    with broker_server.client() as client:
        client.lpush("train", *[stolen] * DUPLICATES)
        doubled = api.submit(harness)
        client.lpush("train", *[stolen] * DUPLICATES)
        harness.wait_until_succeeded(doubled)
        until(lambda: not client.llen("train"), "the end of the duplicates")
    # Once another job has run, the last of them has been handled.
    harness.wait_until_succeeded(api.submit(harness))
    for job_id in (*submitted, doubled):
        assert harness.count(job_id, "claimed") == harness.job(job_id).attempt == 1
    assert_consistent(harness)


def waiters(server: Redis) -> int:
    """How many clients are waiting for a message."""
    with server.client() as client:
        return sum("b" in connection["flags"] for connection in client.client_list())
