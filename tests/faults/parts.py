"""A Redis and an API of the tests' own, and helpers that submit and check trainings."""

import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import httpx2
import psutil
import redis
from sqlalchemy import select

from shared.accounts import create_key
from shared.database import make_sessions
from shared.tables import Job, JobEvent, User
from tests.services.redis import configuration, find_program
from tests.worker.harness import WorkerHarness, until

#: The prefix of the names of jobs whose workers die; see worker/execution/failpoints.py.
FAULT = "fault:"
#: The network of a worker's warm-up, so that no attempt has to compile its own.
WARM = {"window": 16, "units": 32, "embedding": 64, "batch_size": 4, "held_out": 0.1}
#: Some seconds of training, in epochs of a fraction of a second.
EPOCHS = 40
ENDS = ("succeeded", "failed", "cancelled")
#: Redis' default port, on an address of the test's own.
PORT = 6379


class Redis:
    """A server that can be killed, frozen, and started again at the same address.

    Args:
        directory: Holds the socket, so its path must be short.
        address: An IP address of this machine to listen on; by default only the socket is used.
    """

    def __init__(self, directory: Path, address: str = "") -> None:
        self._password = secrets.token_hex(16)
        self._address = address
        self._socket = directory / "redis.sock"
        self._configuration = directory / "redis.conf"
        self._configuration.touch(mode=0o600)
        self._configuration.write_text(
            configuration(
                directory,
                self._socket,
                self._password,
                address=address or "127.0.0.1",
                port=PORT if address else 0,
            )
        )
        self._program = find_program()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its URL, whether it runs or not."""
        if self._address:
            return f"redis://:{self._password}@{self._address}:{PORT}/0"
        return f"unix://:{self._password}@{self._socket}?db=0"

    def client(self) -> redis.Redis:
        """A client, which the caller closes."""
        return redis.Redis.from_url(self.url)

    def start(self) -> None:
        """Start it, empty."""
        self._process = subprocess.Popen(
            [self._program, self._configuration],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until(self._answers, "Redis")

    def kill(self) -> None:
        """Kill it (SIGKILL); its data are lost."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def _answers(self) -> bool:
        with self.client() as client:
            try:
                return bool(client.ping())
            except redis.ConnectionError:
                return False


@dataclass(frozen=True)
class Api:
    """A running ``python -m api``, and a client of one of its users."""

    client: httpx2.Client
    pid: int

    def submit(self, harness: WorkerHarness, epochs: int = 1) -> str:
        """Submit a training. Returns the job's id."""
        answer = self.client.post("/v1/train", json=training(harness, epochs))
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])


def training(harness: WorkerHarness, epochs: int) -> dict[str, object]:
    """The body of a request for a small training."""
    [corpus] = harness.corpora.values()
    return {"corpus": corpus, "epochs": epochs, "seed": 1, "sample": None, **WARM}


def train(harness: WorkerHarness, epochs: int = EPOCHS, **changes: Any) -> str:
    """Submit a training. Returns the job's id."""
    return harness.train(epochs=epochs, **WARM | changes)


@contextmanager
def running_api(
    harness: WorkerHarness, stderr: IO[bytes] | int = subprocess.DEVNULL, **variables: str
) -> Iterator[Api]:
    """Run an API on the harness's database and Redis inside the block."""
    with make_sessions(harness.engine).begin() as session:
        owner = session.get_one(User, harness.user())
        key = create_key(session, owner).key
    process = subprocess.Popen(
        [sys.executable, "-m", "api", "--port", "0"],
        env={**harness.environment, "QUIRE_TRAIN_SHARDS": "1", **variables},
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
    )
    with process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().split()[-1]
            headers = {"Authorization": f"Bearer {key}"}
            with httpx2.Client(
                base_url=url, headers=headers, trust_env=False, timeout=60
            ) as client:
                yield Api(client, process.pid)
        finally:
            process.terminate()
            process.wait(20)


def digest(harness: WorkerHarness, job_id: str) -> str:
    """The digest of all variables after a training's last step."""
    job = harness.job(job_id)
    last = harness.checkpoints(job_id)[-1]
    assert job.progress is not None
    assert last.step == job.progress["steps_total"]
    return last.digest


def parent(pid: int) -> int:
    """The id of the process that started another."""
    return int(psutil.Process(pid).ppid())


def gone(pid: int) -> bool:
    """Whether a process has ended; a zombie counts as ended."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def assert_consistent(harness: WorkerHarness) -> None:
    """Check that every job has ended exactly once, with everything that belongs to its end."""
    with harness.reading() as session:
        jobs = list(session.scalars(select(Job)))
        ends = session.execute(
            select(JobEvent.job_id, JobEvent.type).where(JobEvent.type.in_(ENDS))
        ).all()
    for job in jobs:
        assert [kind for job_id, kind in ends if job_id == job.id] == [job.status]
        if job.status != "succeeded":
            continue
        if job.kind == "train":
            digest(harness, job.id)
        else:
            wanted = len(job.spec["temperatures"]) * job.spec["n"]
            assert [text.position for text in harness.texts(job.id)] == list(range(wanted))
