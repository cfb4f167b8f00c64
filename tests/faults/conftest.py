"""Two harnesses for all fault tests, started once.

One has SQLite and workers that die at named points; the other has a PostgreSQL, a Redis and an API
that tests can stop.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from migrations.migrate import upgrade
from tests.conftest import without
from tests.faults.parts import EPOCHS, FAULT, Api, Redis, digest, gone, running_api, train
from tests.services.postgres import Cluster, cluster
from tests.services.redis import RedisServer
from tests.services.servers import ServerMissing, short_directory
from tests.worker.harness import Worker, WorkerHarness, make_harness, some_text, until

#: Returns the digest of an uninterrupted training of so many epochs.
ExpectedDigest = Callable[..., str]
#: Longer than a tiny training takes to compile on a busy machine.
HUNG_SECONDS = 15
#: A training of the warm-up's shape then compiles nothing while a test waits for its next step.
WARMED_UP = {"QUIRE_WARM_MODELS": "1"}


@pytest.fixture(scope="package")
def failpoint_harness(
    migrated_sqlite: Path, redis_of_session: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WorkerHarness]:
    """SQLite, and workers that die at the point that a job's name gives."""
    directory = tmp_path_factory.mktemp("failpoints")
    shutil.copyfile(migrated_sqlite, directory / "quire.db")
    redis_of_session.flush()
    harness = make_harness(
        f"sqlite:///{directory / 'quire.db'}",
        redis_of_session.url,
        directory,
        QUIRE_FAILPOINT=FAULT,
        QUIRE_HUNG_SECONDS=str(HUNG_SECONDS),
        **WARMED_UP,
    )
    yield harness
    harness.engine.dispose()


@pytest.fixture(scope="package")
def failpoint_worker(failpoint_harness: WorkerHarness) -> Iterator[Worker]:
    with failpoint_harness.worker() as worker:
        yield worker


@pytest.fixture(scope="package")
def broker_server() -> Iterator[Redis]:
    with short_directory("redis") as directory:
        try:
            server = Redis(directory)
        except ServerMissing as error:
            without(str(error))
        server.start()
        yield server
        server.kill()


@pytest.fixture(scope="package")
def database_cluster() -> Iterator[Cluster]:
    try:
        with cluster() as own:
            yield own
    except ServerMissing as error:
        without(str(error))


@pytest.fixture(scope="package")
def postmaster(database_cluster: Cluster) -> Iterator["Postmaster"]:
    server = Postmaster(database_cluster)
    server.start()
    yield server
    server.stop()


class Postmaster:
    """A PostgreSQL that tests can stop and start again."""

    def __init__(self, own: Cluster) -> None:
        self._cluster = own
        self.url = own.url

    def start(self) -> None:
        """Start it, and wait until it accepts connections."""
        self._context = self._cluster.serve()
        self.process = self._context.__enter__()

    def stop(self) -> None:
        """Stop it if it is running."""
        self._context.__exit__(None, None, None)


@pytest.fixture(scope="package")
def outage_harness(
    postmaster: Postmaster, broker_server: Redis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WorkerHarness]:
    """A PostgreSQL and a Redis that tests can stop."""
    upgrade(postmaster.url)
    directory = tmp_path_factory.mktemp("outages")
    harness = make_harness(postmaster.url, broker_server.url, directory, **WARMED_UP)
    harness.corpus(some_text())
    yield harness
    harness.engine.dispose()


@pytest.fixture(scope="package")
def outage_worker(outage_harness: WorkerHarness) -> Iterator[Worker]:
    with outage_harness.worker() as worker:
        yield worker


class SecondHost:
    """The workers of another host. Tests may kill them; `up` starts them again."""

    name = "there"

    def __init__(self, harness: WorkerHarness) -> None:
        self._harness = harness
        self._stack = ExitStack()
        self._worker: Worker | None = None

    def up(self) -> Worker:
        """Start the workers if they are not running, and wait until they are ready."""
        if self._worker is None or self._worker.process.poll() is not None:
            self.down()
            self._worker = self._stack.enter_context(self._harness.worker(host=self.name))
        until(self._is_ready, "the second host")
        return self._worker

    def down(self) -> None:
        """Stop the workers if they are running."""
        self._stack.close()

    def _is_ready(self) -> bool:
        return all(
            row.ready_at and not gone(row.pid) and not row.current_job_id
            for row in self._harness.devices(self.name)
        )


@pytest.fixture(scope="package")
def second_host(outage_harness: WorkerHarness) -> Iterator[SecondHost]:
    host = SecondHost(outage_harness)
    yield host
    host.down()


@pytest.fixture(scope="package")
def api(outage_harness: WorkerHarness) -> Iterator[Api]:
    with running_api(outage_harness) as api:
        yield api


@pytest.fixture(scope="package")
def expected_digest() -> ExpectedDigest:
    """The digest of an uninterrupted training; computed once, in the first harness given."""
    found: dict[int, str] = {}

    def find(harness: WorkerHarness, epochs: int = EPOCHS) -> str:
        if epochs not in found:
            job_id = train(harness, epochs=epochs)
            harness.wait_until_succeeded(job_id)
            found[epochs] = digest(harness, job_id)
        return found[epochs]

    return find
