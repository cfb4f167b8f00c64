"""The plain service and its bare Celery tasks, beside a running Quire and with its checkpoints."""

import http.client
import importlib.util
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from sqlalchemy import select

from benchmarks.peers import plain_celery, plain_service
from benchmarks.support.stack import Client, Stack, free_port, listens, process, until
from shared import blobs
from shared.database import make_engine
from shared.tables import Checkpoint

TEXT_SECONDS = 60.0
#: Requests one text from the checkpoint of this number, and waits for it.
Ask = Callable[[int], None]


@dataclass(frozen=True)
class PlainPeer:
    """The running peer.

    Attributes:
        port: Of the plain service.
        client: A connection to it.
        ask: Sends a bare Celery task and waits for its text.
        processes: The service and the first of its workers, by name.
    """

    port: int
    client: Client
    ask: Ask
    processes: Mapping[str, int]


@contextmanager
def plain_peer(
    quire: Stack, checkpoints: Sequence[str], length: int, database_url: str | None = None
) -> Iterator[PlainPeer]:
    """Run the plain service with a Celery worker for each core, on Quire's Redis.

    Args:
        quire: Whose checkpoints it uses.
        checkpoints: Their ids; requests name them by their places in this list.
        length: The characters of the texts of `PlainPeer.ask`.
        database_url: An empty database; by default a new SQLite file.

    Raises:
        RuntimeError: Something that the service needs is not installed, or does not start.
    """
    if importlib.util.find_spec("gunicorn") is None:
        raise RuntimeError("gunicorn is missing: pip install -r benchmarks/requirements.txt")
    folder = quire.directory / "plain"
    folder.mkdir()
    _copy_checkpoints(quire, checkpoints, folder)
    url = quire.environment["REDIS_URL"].replace("db=0", "db=1")
    port = free_port()
    environment = quire.environment | {
        "REDIS_URL": url,
        "QUIRE_TRAIN_THREADS": "1",
        plain_celery.FOLDER: str(folder),
        plain_service.DATABASE: database_url or f"sqlite:///{folder / 'plain.db'}",
    }
    cores = len(os.sched_getaffinity(0))
    log = folder / "celery.log"
    with ExitStack() as stack:
        workers = [stack.enter_context(_worker(environment, folder)) for _ in range(cores)]
        service = stack.enter_context(process(plain_service.command(port), environment, folder))
        until(lambda: log.read_bytes().count(b" ready.") == cores, "Celery's workers")
        until(lambda: listens(port), "the plain service")
        ask = _celery_client(url, length)
        for _ in range(4 * cores):
            ask(0)
        client = Client(http.client.HTTPConnection("127.0.0.1", port, timeout=TEXT_SECONDS), "")
        yield PlainPeer(port, client, ask, {"service": service.pid, "a worker": workers[0]})


@contextmanager
def _worker(environment: Mapping[str, str], folder: Path) -> Iterator[int]:
    with process(plain_celery.command("generate"), environment, folder) as worker:
        try:
            yield worker.pid
        finally:
            family = psutil.Process(worker.pid).children(recursive=True)
            worker.kill()
            for each in family:
                each.kill()


def _celery_client(url: str, length: int) -> Ask:
    app = plain_celery.make_app(url)

    def ask(number: int) -> None:
        arguments = (str(number), "The ", length, [0.5], number)
        task = app.send_task("plain.generate", arguments, queue="generate")
        [text] = task.get(timeout=TEXT_SECONDS)
        if len(text) != length:
            raise RuntimeError(f"no text arrived: {text!r}")

    return ask


def _copy_checkpoints(quire: Stack, checkpoints: Sequence[str], folder: Path) -> None:
    engine = make_engine(quire.database_url)
    for number, checkpoint in enumerate(checkpoints):
        with engine.connect() as connection:
            sha256 = connection.scalars(
                select(Checkpoint.sha256).where(Checkpoint.id == checkpoint)
            ).one()
        (folder / f"{number}.safetensors").write_bytes(blobs.load(engine, sha256))
    engine.dispose()
