"""Two transactions that want the same locks: each waits for the other to end, and both do."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import Engine, select, text

from shared import blobs
from shared.queue.retention import KEEP
from shared.queue.types import CheckpointRecord, Claim
from shared.scheduling.accounting import Ledger
from shared.tables import Checkpoint, Job
from shared.worker_registry import WorkerInfo, register
from tests.queue.conftest import WORKER, World

LIMIT_SECONDS = 30


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


class Gap:
    """Holds the first transaction that comes to where device time is written, until `go_on`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._reached, self._go_on = threading.Event(), threading.Event()
        self._post = Ledger.post
        monkeypatch.setattr(Ledger, "post", lambda *args: self._hold(*args))

    def _hold(self, *args: Any) -> None:
        if not self._reached.is_set():
            self._reached.set()
            assert self._go_on.wait(LIMIT_SECONDS)
        self._post(*args)

    def reached(self) -> None:
        """Return once somebody is held."""
        assert self._reached.wait(LIMIT_SECONDS)

    def go_on(self) -> None:
        """Let them go on."""
        self._go_on.set()


def somebody_waits(engine: Engine) -> None:
    """Return once a transaction waits for a lock of another."""
    if engine.dialect.name != "postgresql":
        # SQLite has one lock, and can't be asked who waits for it.
        time.sleep(0.3)
        return
    count = text(
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    deadline = time.monotonic() + LIMIT_SECONDS
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as watcher:
        while not watcher.scalar(count):
            assert time.monotonic() < deadline, "nobody ever waited"
            time.sleep(0.02)


def save(world: World, claim: Claim, step: int) -> str:
    sha256 = blobs.store(world.engine, b"%010d" % step)
    record = CheckpointRecord(step, 0.1, 1.0, 1.0, "d" * 64, sha256, 10, {})
    return world.queue.record_checkpoint(claim, record)


def steps(world: World) -> list[int]:
    with world.engine.connect() as connection:
        return list(connection.scalars(select(Checkpoint.step).order_by(Checkpoint.step)))


def test_a_checkpoint_is_saved_while_a_text_of_its_owner_is_claimed(
    world: World, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It retires old ones, for which it needs the lock of claims, and checks its owner's cap."""
    world.submit()
    [training] = world.claim()
    for step in range(1, KEEP + 2):
        save(world, training, step)
    [text_id] = world.submit(kind="generate")
    gap = Gap(monkeypatch)
    claimed = pool.submit(world.claim, "generate")
    gap.reached()
    saved = pool.submit(save, world, training, KEEP + 2)
    somebody_waits(world.engine)
    gap.go_on()
    assert [claim.job_id for claim in claimed.result(LIMIT_SECONDS)] == [text_id]
    saved.result(LIMIT_SECONDS)
    assert max(steps(world)) == KEEP + 2


def test_a_worker_that_was_frozen_claims_while_its_job_is_rescued(
    world: World, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both write the worker's row and what its owner was served."""
    host, device, _ = WORKER.split("/")
    register(world.engine, WorkerInfo(host, device, "train", 1, {}), ready=True, clock=world.clock)
    jobs = world.submit(count=2)
    [frozen] = world.claim()
    world.clock.move(world.settings.lease_seconds + 1)
    gap = Gap(monkeypatch)
    rescued = pool.submit(world.queue.rescue)
    gap.reached()
    claimed = pool.submit(world.claim)
    somebody_waits(world.engine)
    gap.go_on()
    assert [rescue.job_id for rescue in rescued.result(LIMIT_SECONDS)] == [frozen.job_id]
    assert {claim.job_id for claim in claimed.result(LIMIT_SECONDS)} < set(jobs)


def test_a_claim_does_not_wait_for_one_that_comes_too_late_and_is_locked(
    world: World, pool: ThreadPoolExecutor
) -> None:
    if world.engine.dialect.name != "postgresql":
        pytest.skip("SQLite locks no rows")
    [late] = world.submit(start_before=world.clock.now)
    world.clock.move(1)
    with world.engine.connect() as other:
        other.execute(select(Job.id).where(Job.id == late).with_for_update())
        claimed: Future[list[Claim]] = pool.submit(world.claim)
        try:
            assert claimed.result(5) == []
        finally:
            other.rollback()
            claimed.exception(LIMIT_SECONDS)
    assert world.job(late).status == "queued"
    assert world.claim() == []
    assert world.job(late).status == "failed"


def test_what_a_checkpoint_lets_go_makes_room_for_it(world: World) -> None:
    world.change("ada", max_stored_bytes=9 + 10 * KEEP)
    world.submit()
    [training] = world.claim()
    for step in range(1, 2 * KEEP):
        save(world, training, step)
    assert steps(world) == list(range(KEEP, 2 * KEEP))
