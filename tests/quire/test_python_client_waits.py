"""Waiting for jobs with the Python client: how long, without needless pauses, until Ctrl-C."""

import signal
import subprocess
import sys
import threading
from typing import Any

import pytest

from quire import Client, WaitTimeout
from tests.api.harness import ENGLISH
from tests.quire.conftest import Served

SECONDS = 60.0
TINY: dict[str, Any] = {"preset": "classic", "epochs": 4}


def test_a_time_limit_leaves_the_job_running(client: Client) -> None:
    job = client.train(text=ENGLISH, **TINY)
    with pytest.raises(WaitTimeout, match=r"has not ended after 0\.2 s \(it is queued\)") as raised:
        job.result(timeout=0.2)
    assert isinstance(raised.value, TimeoutError)
    assert client.job(job.id).status == "queued"


def test_a_job_that_ended_while_others_were_waited_for_is_not_paused_for(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (client.train(text=ENGLISH, name=name, **TINY) for name in ("a", "b"))
    for job in (first, second):
        client.job(job.id).cancel()
    pauses: list[float] = []
    monkeypatch.setattr("quire.client.sync.runtime.sleep", pauses.append)
    # A reply from just now would be the same, so the first look at it waits.
    monkeypatch.setattr("quire.client.sync.job.FIRST_POLL_SECONDS", 0.0)
    assert [first.wait().status, second.wait().status] == ["cancelled", "cancelled"]
    assert pauses == []


INTERRUPTED = """
import sys
from quire import Client
job = Client().train(text=sys.stdin.read(), name="poet", preset="classic")
print(job.id, flush=True)
if sys.argv[1] == "result":
    job.result()
else:
    for _ in job.watch():
        pass
"""


@pytest.mark.parametrize("way", ["result", "watch"])
def test_an_interruption_leaves_the_job_running_and_says_so(served: Served, way: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, way],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as script:
        assert script.stdin is not None
        assert script.stdout is not None
        script.stdin.write(ENGLISH)
        script.stdin.close()
        script.stdin = None
        job_id = script.stdout.readline().strip()
        threading.Event().wait(0.5)
        script.send_signal(signal.SIGINT)
        _, err = script.communicate(timeout=SECONDS)
    assert "KeyboardInterrupt" in err
    assert f"The job poet keeps running. q.job('{job_id}') returns to it" in err
    assert served.ann.get(f"/v1/jobs/{job_id}").json["status"] == "queued"
