"""Under QUIRE_LOG_FORMAT=json every line of the parts is JSON, a library's or a crash's too."""

import json
import os
import signal
import subprocess
import sys
from typing import Any

import pytest

from tests.faults.parts import running_api
from tests.worker.harness import WorkerHarness, some_text, until

QUIRE = ("quire",)
#: A command line, variables, the exit code, and a word of what is told.
Failure = tuple[tuple[str, ...], dict[str, str], int, str]
FAILURES: list[Failure] = [
    ((*QUIRE, "worker", "--nonsense"), {}, 2, "--nonsense"),
    ((*QUIRE, "api", "--port", "x"), {}, 2, "--port"),
    ((*QUIRE, "migrate", "surplus"), {}, 2, "surplus"),
    ((*QUIRE, "worker"), {"QUIRE_LEASE_SECONDS": "x"}, 2, "QUIRE_LEASE_SECONDS"),
    (("worker", "--nonsense"), {}, 2, "--nonsense"),
    (("worker", "--devices", "gpu:77"), {}, 2, "gpu:77"),
    (("worker",), {"QUIRE_NO_SUCH": "1"}, 2, "QUIRE_NO_SUCH"),
    (("api", "--nonsense"), {}, 2, "--nonsense"),
    (("api",), {"REDIS_URL": "http://x"}, 2, "REDIS_URL"),
    (("api",), {"DATABASE_URL": "postgresql://u@127.0.0.1:1/x"}, 1, "DATABASE_URL"),
    (("migrations",), {"QUIRE_LOG_LEVEL": "loud"}, 2, "QUIRE_LOG_LEVEL"),
    (("migrations",), {"DATABASE_URL": "postgresql://u@127.0.0.1:1/x"}, 1, "DATABASE_URL"),
    # A bug: its traceback is one event.
    (("migrations",), {"DATABASE_URL": "postgresql://u@127.0.0.1:port/x", "A": ""}, 1, "Traceback"),
]


def parsed(text: str) -> list[dict[str, Any]]:
    events = [json.loads(line) for line in text.splitlines()]
    assert all(isinstance(event, dict) for event in events)
    return events


@pytest.mark.parametrize(
    "failure", FAILURES, ids=lambda failure: " ".join((*failure[0], *failure[1]))
)
def test_a_part_that_cannot_start(failure: Failure, sqlite_url: str) -> None:
    arguments, variables, code, word = failure
    done = subprocess.run(
        [sys.executable, "-P", "-m", *arguments],
        env={
            **os.environ,
            "DATABASE_URL": sqlite_url,
            "REDIS_URL": "redis://127.0.0.1:1/0",
            "QUIRE_LOG_FORMAT": "json",
            **variables,
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    events = parsed(done.stderr)
    assert done.returncode == code, events
    assert any(word in event["event"] for event in events), events


@pytest.mark.slow
def test_the_workers_and_the_api_while_they_run(sqlite_harness: WorkerHarness) -> None:
    harness = sqlite_harness
    harness.corpus(some_text())
    loud = {"TF_CPP_MIN_LOG_LEVEL": "0", "PYTHONWARNINGS": "always"}
    with harness.worker(variables=loud) as worker:
        harness.wait_until_succeeded(harness.train(epochs=1))
        child = harness.child_pid("train")
        os.kill(child, signal.SIGKILL)
        until(lambda: harness.child_pid("train") != child, "another child", 90)
    foreign = [event for event in parsed(worker.log) if event.get("source") == "stderr"]
    assert any("TensorFlow binary" in event["event"] for event in foreign)
    log = harness.directory / "api.log"
    with log.open("wb") as output, running_api(harness, stderr=output, **loud) as api:
        assert api.client.get("/v1/me").status_code == 200
    assert parsed(log.read_text())
