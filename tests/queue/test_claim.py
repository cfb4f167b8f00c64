"""Claims that race."""

import multiprocessing
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Engine, text

from shared.database import make_engine
from shared.queue import CLAIM_LOCKS, Queue
from shared.queue.types import Claim
from shared.scheduling import policy
from shared.settings import Settings
from shared.tables import Kind
from tests.queue.conftest import QueueHarness

PROCESSES = 8
JOBS = 1000
THREADS = 16
LOCK_FREE_SECONDS = 10.0


def claim_everything(url: str, worker: str) -> list[tuple[str, int]]:
    """Claim until no job is left; this runs in a process of its own."""
    engine = make_engine(url)
    queue = Queue(engine, Settings())
    mine: list[tuple[str, int]] = []
    while claims := queue.claim("generate", worker):
        mine += [(claim.job_id, claim.attempt) for claim in claims]
    engine.dispose()
    return mine


def test_eight_processes_claim_a_thousand_jobs_each_once(
    harness: QueueHarness, database_url: str
) -> None:
    submitted = set()
    for number in range(20):
        submitted |= set(harness.submit(f"user{number}", "generate", JOBS // 20))
    with multiprocessing.get_context("spawn").Pool(PROCESSES) as pool:
        workers = [(database_url, f"host/cpu:{number}/generate") for number in range(PROCESSES)]
        claimed = [claim for mine in pool.starmap(claim_everything, workers) for claim in mine]
    assert len(claimed) == JOBS
    assert {job_id for job_id, _ in claimed} == submitted
    assert {attempt for _, attempt in claimed} == {1}


@contextmanager
def lock_held(engine: Engine, kind: Kind) -> Iterator[Callable[[int], None]]:
    """Hold the lock of claims; yield a function that returns once so many claims wait for it."""
    with engine.connect() as holder, engine.connect() as watcher:
        if engine.dialect.name == "postgresql":
            holder.execute(text("SELECT pg_advisory_lock(:key)"), {"key": CLAIM_LOCKS[kind]})
        else:
            holder.begin()  # BEGIN IMMEDIATE: the write lock itself

        def wait_for(waiting: int) -> None:
            if engine.dialect.name != "postgresql":
                # SQLite can't be asked who waits; it retries every few milliseconds.
                time.sleep(0.5)
                return
            count = text(
                "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted "
                "AND objid = :key"
            )
            deadline = time.monotonic() + 30
            while (watcher.scalar(count, {"key": CLAIM_LOCKS[kind]}) or 0) < waiting:
                assert time.monotonic() < deadline, "the claims never waited for the lock"
                time.sleep(0.02)

        try:
            yield wait_for
        finally:
            if engine.dialect.name == "postgresql":
                holder.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": CLAIM_LOCKS[kind]})
            holder.rollback()


def test_the_cap_holds_when_claims_start_before_the_lock_is_free(harness: QueueHarness) -> None:
    """All claims start before any may continue, so that a snapshot could be as old as possible."""
    harness.submit("ada", "train", 10)
    with ThreadPoolExecutor(THREADS) as pool:
        with lock_held(harness.engine, "train") as wait_for:
            futures = [pool.submit(harness.claim, "train") for _ in range(THREADS)]
            wait_for(THREADS)
        claims = [claim for future in futures for claim in future.result()]
    assert len(claims) == harness.settings.max_running_per_user
    assert len({claim.job_id for claim in claims}) == len(claims)


def test_a_claim_that_finds_nothing_waits_for_no_lock(harness: QueueHarness) -> None:
    """Workers look for jobs many times a second, and others write meanwhile."""
    harness.submit("ada", "train")
    with ThreadPoolExecutor(1) as pool, lock_held(harness.engine, "generate"):
        claimed = pool.submit(harness.claim, "generate")
        assert claimed.result(LOCK_FREE_SECONDS) == []


@pytest.fixture
def slow_pick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Widen the gap between what the policy reads and what the claim writes."""
    pick = policy.pick

    def slowly(*args: Any, **options: Any) -> list[str]:
        picked = pick(*args, **options)
        time.sleep(0.05)
        return picked

    monkeypatch.setattr(policy, "pick", slowly)


@pytest.mark.usefixtures("slow_pick")
def test_the_cap_is_reached_and_not_exceeded_when_the_policy_is_slow(harness: QueueHarness) -> None:
    harness.submit("ada", "train", 10)
    claims = claim_at_once(harness)
    assert len(claims) == harness.settings.max_running_per_user


@pytest.mark.usefixtures("slow_pick")
def test_no_claim_comes_back_empty_while_there_is_work(harness: QueueHarness) -> None:
    """Without the lock, all would read the same best job, and all but one would get nothing."""
    for number in range(THREADS):
        harness.submit(f"user{number}", "train")
    claims = claim_at_once(harness)
    assert len(claims) == THREADS
    assert set(Counter(claim.job_id for claim in claims).values()) == {1}


@pytest.mark.usefixtures("slow_pick")
def test_each_claim_is_charged_before_the_next_one_picks(harness: QueueHarness) -> None:
    """A user with many jobs does not take all devices: another user is served in turn."""
    harness.submit("flood", "generate", 20)
    harness.submit("grace", "generate", 20)
    claims = claim_at_once(harness, "generate")
    shares = Counter(claim.user_id for claim in claims)
    assert shares == {harness.user("flood"): THREADS // 2, harness.user("grace"): THREADS // 2}


def claim_at_once(harness: QueueHarness, kind: Kind = "train") -> list[Claim]:
    """Claim from many threads at once."""
    with ThreadPoolExecutor(THREADS) as pool:
        futures = [
            pool.submit(harness.queue.claim, kind, f"host/cpu:{n}/{kind}") for n in range(THREADS)
        ]
        return [claim for future in futures for claim in future.result()]
