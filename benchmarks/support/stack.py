"""A complete Quire for the serving benchmarks: database, Redis, API and workers as processes."""

import http.client
import json
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from sqlalchemy import insert, select

from benchmarks.support.harness import load_corpus
from migrations.migrate import upgrade
from shared import accounts, blobs
from shared.checkpoint_aliases import resolve
from shared.database import make_engine, make_sessions
from shared.ids import new_id
from shared.process.python_module import python_module
from shared.tables import Checkpoint
from tests.services.redis import redis_server
from worker.ml.checkpoint import pack, unpack

START_SECONDS = 120.0
TRAIN_SECONDS = 120.0
#: A network of the size of the one in benchmarks/generate.py, barely trained.
CORPUS_CHARACTERS = 60_000
TRAINING = {"preset": "default", "units": 128, "epochs": 1, "sample": None}


@dataclass(frozen=True)
class Client:
    """A client with one persistent connection."""

    connection: http.client.HTTPConnection
    key: str

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """Send a request; return the JSON of the response."""
        response = self.send(method, path, body, **headers)
        answer = json.loads(response.read())
        if response.status >= 400:
            raise RuntimeError(f"{method} {path}: {answer}")
        return answer

    def send(
        self, method: str, path: str, body: Any = None, **headers: str
    ) -> http.client.HTTPResponse:
        """Send a request; return the response, which is to be read to its end."""
        data = None if body is None else json.dumps(body)
        sent = {
            "Authorization": f"Bearer {self.key}",
            "Content-Type": "application/json",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        try:
            self.connection.request(method, path, data, sent)
            return self.connection.getresponse()
        except (BrokenPipeError, ConnectionResetError, http.client.RemoteDisconnected):
            # The server closes a connection that was idle for long.
            self.connection.close()
            self.connection.request(method, path, data, sent)
            return self.connection.getresponse()


@dataclass(frozen=True)
class Stack:
    """A running stack.

    Attributes:
        client: A client with a key.
        environment: The environment of its processes.
        database_url: Its database.
        directory: Its data directory, deleted with it.
        processes: Its API and its worker's supervisor, by name.
    """

    client: Client
    environment: dict[str, str]
    database_url: str
    directory: Path
    processes: Mapping[str, int]

    @property
    def port(self) -> int:
        """The port of the API."""
        return int(self.environment["QUIRE_API_PORT"])

    def connect(self) -> Client:
        """Open another connection for the same user, for use in another thread."""
        return connect(self.environment, self.client.key)


@contextmanager
def running(
    database_url: str | None = None, variables: Mapping[str, str] | None = None
) -> Iterator[Stack]:
    """Run a stack that is ready for work.

    Args:
        database_url: An empty database; by default a new SQLite file.
        variables: Additional environment variables.
    """
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="quire-bench-")))
        redis = stack.enter_context(redis_server())
        url = database_url or f"sqlite:///{directory / 'quire.db'}"
        upgrade(url)
        environment = _environment(url, redis.url, directory) | dict(variables or {})
        client, processes = stack.enter_context(_stack(environment, url, directory))
        yield Stack(client, environment, url, directory, processes)


def another_user(quire: Stack, name: str) -> Client:
    """Add a user; return a client with a key of theirs."""
    engine = make_engine(quire.database_url)
    with make_sessions(engine).begin() as session:
        key = accounts.create_key(session, accounts.create_user(session, name)).key
    engine.dispose()
    return connect(quire.environment, key)


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process and its descendants have taken so far."""
    used = 0.0
    root = psutil.Process(pid)
    for each in (root, *root.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            times = each.cpu_times()
            used += times.user + times.system
    return used


def another_checkpoint(quire: Stack, model: str, seed: int) -> str:
    """Add a checkpoint of the same shape with other weights to a model; return its id."""
    engine = make_engine(quire.database_url)
    with engine.connect() as connection:
        best = resolve(connection, model, "best")
        row = connection.execute(select(Checkpoint).where(Checkpoint.id == best)).one()
    state = unpack(blobs.load(engine, row.sha256))
    draws = np.random.default_rng(seed)
    weights = {
        name: array * draws.uniform(0.95, 1.05, array.shape).astype(np.float32)
        for name, array in state.weights.items()
    }
    data = pack(replace(state, weights=weights, training={}))
    sha256 = blobs.store(engine, data)
    with engine.begin() as connection:
        blobs.publish(connection, sha256)
        values = row._asdict() | {
            "id": new_id(),
            "sha256": sha256,
            "size_bytes": len(data),
            # Worse than the training's own and none of its steps, so that it is not `best`.
            "step": row.step + 1_000_000 + seed,
            "val_loss": 1e6,
        }
        connection.execute(insert(Checkpoint), values)
    engine.dispose()
    return str(values["id"])


def connect(environment: Mapping[str, str], key: str) -> Client:
    """Open a connection to the API."""
    port = int(environment["QUIRE_API_PORT"])
    return Client(http.client.HTTPConnection("127.0.0.1", port, timeout=60), key)


def _environment(database_url: str, redis_url: str, directory: Path) -> dict[str, str]:
    foreign = {name for name in os.environ if name.startswith("QUIRE_")}
    return {name: value for name, value in os.environ.items() if name not in foreign} | {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "QUIRE_DATA_DIR": str(directory),
        "QUIRE_API_PORT": str(free_port()),
        "QUIRE_DEVICES": "cpu",
        "QUIRE_LOG_LEVEL": "warning",
    }


@contextmanager
def _stack(
    environment: dict[str, str], database_url: str, directory: Path
) -> Iterator[tuple[Client, Mapping[str, int]]]:
    """Run the API and the workers; yield a client with a key, and their processes."""
    engine = make_engine(database_url)
    with make_sessions(engine).begin() as session:
        user = accounts.create_user(session, "bench", "admin")
        session.flush()
        key = accounts.create_key(session, user).key
    engine.dispose()
    port = int(environment["QUIRE_API_PORT"])
    with (
        process(python_module("api"), environment, directory) as api,
        process(python_module("worker"), environment, directory) as worker,
    ):
        until(lambda: listens(port), "the API")
        client = connect(environment, key)
        until(lambda: _ready(client), "the workers")
        yield client, {"API": api.pid, "worker": worker.pid}
        client.connection.close()


@contextmanager
def process(
    argv: tuple[str, ...], environment: Mapping[str, str], directory: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Run one part, whose output goes to a log file in the directory."""
    module = argv[argv.index("-m") + 1]
    log = directory / f"{module.rpartition('.')[2]}.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            argv, env=environment, stdout=output, stderr=output, start_new_session=True
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(40)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def train(client: Client, **changes: Any) -> str:
    """Train a small network to its end; return the id of the model."""
    text = load_corpus("nietzsche").text[:CORPUS_CHARACTERS]
    corpus = client.call("POST", "/v1/corpora", {"name": "bench", "text": text})
    job = client.call("POST", "/v1/train", {"corpus": corpus["id"], **TRAINING, **changes})

    def ended() -> bool:
        status = client.call("GET", f"/v1/jobs/{job['id']}")["status"]
        if status in ("failed", "cancelled"):
            raise RuntimeError(f"the training {status}")
        return bool(status == "succeeded")

    until(ended, "the training", TRAIN_SECONDS, pause=0.25)
    return str(job["model"])


def _ready(client: Client) -> bool:
    devices = client.call("GET", "/v1/devices")["items"]
    return len([one for one in devices if one["versions"]]) == 2


def listens(port: int) -> bool:
    """Return whether something listens on a port of this machine."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    """Return a port of this machine that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(
    look: Callable[[], bool], what: str, seconds: float = START_SECONDS, pause: float = 0.1
) -> None:
    """Poll until a condition holds."""
    deadline = time.monotonic() + seconds
    while not look():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what}: not within {seconds:g} s")
        time.sleep(pause)
