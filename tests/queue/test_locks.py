"""Two transactions that need the same locks wait for each other without a deadlock."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import Engine, select, text

from shared import blobs
from shared.queue.maintenance.retention import DEFAULT_KEEP
from shared.queue.types import CheckpointRecord, Claim
from shared.scheduling.accounting import Ledger
from shared.tables import Checkpoint, Job
from shared.worker_registry import WorkerInfo, register
from tests.queue.conftest import WORKER, QueueHarness

LIMIT_SECONDS = 30


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


class Gap:
    """Holds the first transaction that is about to write device time until `go_on`."""

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
        """Return once a transaction is held."""
        assert self._reached.wait(LIMIT_SECONDS)

    def go_on(self) -> None:
        """Let it continue."""
        self._go_on.set()


def wait_for_blocked(engine: Engine) -> None:
    """Return once a transaction waits for a lock that another holds."""
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
            assert time.monotonic() < deadline, "no transaction ever waited"
            time.sleep(0.02)


def save(harness: QueueHarness, claim: Claim, step: int) -> str:
    sha256 = blobs.store(harness.engine, b"%010d" % step)
    record = CheckpointRecord(step, 0.1, 1.0, 1.0, "d" * 64, sha256, 10, {})
    return harness.queue.record_checkpoint(claim, record)


def steps(harness: QueueHarness) -> list[int]:
    with harness.engine.connect() as connection:
        return list(connection.scalars(select(Checkpoint.step).order_by(Checkpoint.step)))


def test_a_checkpoint_is_saved_while_a_text_of_its_owner_is_claimed(
    harness: QueueHarness, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Saving deletes old checkpoints under the lock of claims, and checks the owner's cap."""
    harness.submit()
    [training] = harness.claim()
    for step in range(1, DEFAULT_KEEP + 2):
        save(harness, training, step)
    [text_id] = harness.submit(kind="generate")
    gap = Gap(monkeypatch)
    claimed = pool.submit(harness.claim, "generate")
    gap.reached()
    saved = pool.submit(save, harness, training, DEFAULT_KEEP + 2)
    wait_for_blocked(harness.engine)
    gap.go_on()
    assert [claim.job_id for claim in claimed.result(LIMIT_SECONDS)] == [text_id]
    saved.result(LIMIT_SECONDS)
    assert max(steps(harness)) == DEFAULT_KEEP + 2


def test_a_frozen_worker_claims_while_its_job_is_rescued(
    harness: QueueHarness, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both write the worker's row and the owner's service."""
    host, device, _ = WORKER.split("/")
    register(
        harness.engine, WorkerInfo(host, device, "train", 1, {}), ready=True, clock=harness.clock
    )
    jobs = harness.submit(count=2)
    [frozen] = harness.claim()
    harness.clock.move(harness.settings.lease_seconds + 1)
    gap = Gap(monkeypatch)
    rescued = pool.submit(harness.queue.rescue)
    gap.reached()
    claimed = pool.submit(harness.claim)
    wait_for_blocked(harness.engine)
    gap.go_on()
    assert [rescue.job_id for rescue in rescued.result(LIMIT_SECONDS)] == [frozen.job_id]
    assert {claim.job_id for claim in claimed.result(LIMIT_SECONDS)} < set(jobs)


def test_a_claim_does_not_wait_for_a_locked_job_past_its_start_before(
    harness: QueueHarness, pool: ThreadPoolExecutor
) -> None:
    if harness.engine.dialect.name != "postgresql":
        pytest.skip("SQLite locks no rows")
    [late] = harness.submit(start_before=harness.clock.now)
    harness.clock.move(1)
    with harness.engine.connect() as other:
        other.execute(select(Job.id).where(Job.id == late).with_for_update())
        claimed: Future[list[Claim]] = pool.submit(harness.claim)
        try:
            assert claimed.result(5) == []
        finally:
            other.rollback()
            claimed.exception(LIMIT_SECONDS)
    assert harness.job(late).status == "queued"
    assert harness.claim() == []
    assert harness.job(late).status == "failed"


def test_a_checkpoint_fits_in_the_room_that_deleted_ones_free(harness: QueueHarness) -> None:
    harness.change("ada", max_stored_bytes=9 + 10 * DEFAULT_KEEP)
    harness.submit()
    [training] = harness.claim()
    for step in range(1, 2 * DEFAULT_KEEP):
        save(harness, training, step)
    assert steps(harness) == list(range(DEFAULT_KEEP, 2 * DEFAULT_KEEP))
