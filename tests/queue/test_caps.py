"""Caps hold when many requests race, and their messages say what the cap is."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import func, insert, select

from shared import blobs
from shared.database import make_sessions
from shared.queue import Queue
from shared.queue.types import CheckpointRecord
from shared.scheduling import cap_checks
from shared.scheduling.errors import CapReached, CorporaFull, DayUsedUp, QueueFull, StorageFull
from shared.tables import Corpus, Job
from tests.queue.conftest import QueueHarness

THREADS = 12


@pytest.fixture
def slow_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Widen the gap between a cap's check and the insert that follows it."""
    for name in ("check_job", "check_corpus"):
        check = getattr(cap_checks, name)

        def slowly(*args: object, check: Callable[..., None] = check) -> None:
            check(*args)
            time.sleep(0.05)

        monkeypatch.setattr(cap_checks, name, slowly)


def at_once(work: Callable[[], object]) -> list[object]:
    """Run `work` in many threads at once, and return the results and refusals."""

    def attempt(_: int) -> object:
        try:
            return work()
        except CapReached as refusal:
            return refusal

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(attempt, range(THREADS)))


@pytest.mark.usefixtures("slow_count")
def test_the_cap_of_queued_jobs_holds_when_all_submit_at_once(harness: QueueHarness) -> None:
    harness.change("ada", max_queued=3)
    results = at_once(harness.submit)
    assert sum(isinstance(result, QueueFull) for result in results) == THREADS - 3
    with harness.engine.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(Job)) == 3


def test_a_lowered_cap_refuses_jobs_and_keeps_those_there(harness: QueueHarness) -> None:
    harness.submit(count=3)
    harness.change("ada", max_queued=1)
    with pytest.raises(QueueFull, match=r"you have 3 queued jobs.*one user may have 1:"):
        harness.submit()


def test_a_paused_job_counts_as_queued(harness: QueueHarness) -> None:
    harness.change("ada", max_queued=1)
    [job_id] = harness.submit()
    harness.pause(job_id)
    with pytest.raises(QueueFull, match="1 queued jobs"):
        harness.submit()


def insert_corpus(harness: QueueHarness, size: int) -> None:
    """Check and insert a corpus in one transaction, as the API does."""
    with make_sessions(harness.engine).begin() as session:
        connection = session.connection()
        cap_checks.check_corpus(connection, harness.settings, harness.user("ada"), size)
        source = session.get_one(Corpus, harness.corpus_id)
        values = {
            column.name: getattr(source, column.name)
            for column in Corpus.__table__.columns
            if column.name != "id"
        }
        session.execute(insert(Corpus).values(**values | {"bytes": size}))


@pytest.mark.usefixtures("slow_count")
@pytest.mark.parametrize(
    ("cap", "refusal"), [("max_corpora_bytes", CorporaFull), ("max_stored_bytes", StorageFull)]
)
def test_the_caps_of_stored_bytes_hold_when_all_upload_at_once(
    harness: QueueHarness, cap: str, refusal: type[CapReached]
) -> None:
    harness.change("ada", **{cap: 1009 + 3 * 500})  # 9 are stored
    results = at_once(lambda: insert_corpus(harness, 500))
    assert sum(isinstance(result, refusal) for result in results) == THREADS - 5
    with harness.engine.connect() as connection:
        assert connection.scalar(select(func.sum(Corpus.bytes))) == 9 + 5 * 500


def test_the_day_s_device_time_holds_when_all_claim_at_once(harness: QueueHarness) -> None:
    """Each claim reserves a quantum, so that many at once can't all start in the last second."""
    quantum = harness.settings.quantum_seconds
    harness.change("ada", max_running=100, max_device_seconds_per_day=2.5 * quantum)
    harness.submit(count=THREADS)
    claims = [claim for claims in at_once(harness.claim) for claim in claims]  # type: ignore[attr-defined]
    assert len(claims) == 3, "the third starts within the cap, and may end beyond it"


def test_a_used_up_day_says_how_much_and_until_when(harness: QueueHarness) -> None:
    harness.change("ada", max_device_seconds_per_day=100.0)
    [waits] = harness.submit(count=1)
    [claim] = harness.claim()
    harness.clock.move(120)
    harness.queue.succeed(claim)
    with pytest.raises(DayUsedUp, match=r"120 of 100 device-seconds.*2026-01-02 00:00 UTC") as why:
        harness.submit()
    assert why.value.retry_seconds == 24 * 3600 - 120
    harness.clock.now = claim_day_after = harness.clock.now + timedelta(days=1)
    assert harness.row("ada").used_on < claim_day_after.date()
    harness.submit()
    assert waits


def test_only_what_ran_since_midnight_counts_today(harness: QueueHarness) -> None:
    harness.submit()
    harness.clock.now = harness.clock.now.replace(hour=23, minute=59)
    [claim] = harness.claim()
    harness.clock.move(180)
    harness.queue.succeed(claim)
    row = harness.row("ada")
    assert (row.used_on, row.used_seconds) == (harness.clock.now.date(), 120)


def test_a_checkpoint_beyond_the_cap_is_refused_and_those_before_stay(
    harness: QueueHarness,
) -> None:
    harness.change("ada", max_stored_bytes=9 + 20)
    harness.submit()
    [claim] = harness.claim()

    def save(step: int) -> None:
        sha256 = blobs.store(harness.engine, b"%010d" % step)
        record = CheckpointRecord(step, 0.1, 1.0, 1.0, "d" * 64, sha256, 10, {})
        harness.queue.record_checkpoint(claim, record)

    save(1)
    save(2)
    save(2)  # again: it is stored already, and takes no more bytes
    with pytest.raises(StorageFull, match="take 39 bytes") as why:
        save(3)
    assert why.value.retry_seconds is None
    assert harness.events(claim.job_id).count("checkpoint") == 2
    with pytest.raises(StorageFull, match="delete models or corpora"):
        harness.submit()
    harness.submit(kind="generate")


def test_a_user_s_own_cap_may_exceed_the_default(harness: QueueHarness) -> None:
    settings = harness.settings.model_copy(update={"max_queued_per_user": 1})
    queue = Queue(harness.engine, settings, harness.clock)
    harness.change("ada", max_queued=2)
    harness.submit(count=1)
    with harness.engine.begin() as connection:
        cap_checks.check_job(connection, settings, harness.user("ada"), "train", harness.clock.now)
    harness.submit("grace")
    with harness.engine.begin() as connection, pytest.raises(QueueFull):
        cap_checks.check_job(
            connection, settings, harness.user("grace"), "train", harness.clock.now
        )
    assert queue.settings.max_queued_per_user == 1
