"""Caps that races try to pass: each holds when many ask at once, and says what it is."""

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
from shared.scheduling import caps
from shared.scheduling.errors import CapReached, CorporaFull, DayUsedUp, QueueFull, StorageFull
from shared.tables import Corpus, Job
from tests.queue.conftest import World

THREADS = 12


@pytest.fixture
def slow_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Widen the gap between what a cap's check reads and what is inserted under it."""
    for name in ("check_job", "check_corpus"):
        check = getattr(caps, name)

        def slowly(*args: object, check: Callable[..., None] = check) -> None:
            check(*args)
            time.sleep(0.05)

        monkeypatch.setattr(caps, name, slowly)


def at_once(work: Callable[[], object]) -> list[object]:
    """What each of many threads got: a result, or a refusal."""

    def one(_: int) -> object:
        try:
            return work()
        except CapReached as refusal:
            return refusal

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(one, range(THREADS)))


@pytest.mark.usefixtures("slow_count")
def test_the_line_s_cap_holds_when_all_submit_at_once(world: World) -> None:
    world.change("ada", max_queued=3)
    got = at_once(world.submit)
    assert sum(isinstance(one, QueueFull) for one in got) == THREADS - 3
    with world.engine.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(Job)) == 3


def test_a_cap_that_was_lowered_is_not_what_one_has(world: World) -> None:
    world.submit(count=3)
    world.change("ada", max_queued=1)
    with pytest.raises(QueueFull, match=r"you have 3 queued jobs.*one user may have 1:"):
        world.submit()


def test_a_paused_job_keeps_its_place_in_the_cap(world: World) -> None:
    world.change("ada", max_queued=1)
    [job_id] = world.submit()
    world.pause(job_id)
    with pytest.raises(QueueFull, match="1 queued jobs"):
        world.submit()


def insert_corpus(world: World, size: int) -> None:
    """As the API does: what is stored is published, checked and inserted in one transaction."""
    with make_sessions(world.engine).begin() as session:
        connection = session.connection()
        caps.check_corpus(connection, world.settings, world.user("ada"), size)
        source = session.get_one(Corpus, world.corpus_id)
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
def test_the_caps_of_bytes_hold_when_all_upload_at_once(
    world: World, cap: str, refusal: type[CapReached]
) -> None:
    world.change("ada", **{cap: 1009 + 3 * 500})  # 9 are stored
    got = at_once(lambda: insert_corpus(world, 500))
    assert sum(isinstance(one, refusal) for one in got) == THREADS - 5
    with world.engine.connect() as connection:
        assert connection.scalar(select(func.sum(Corpus.bytes))) == 9 + 5 * 500


def test_the_day_s_device_time_holds_when_all_claim_at_once(world: World) -> None:
    """Each claim reserves its quantum, so that many at once can't all begin on the last second."""
    quantum = world.settings.quantum_seconds
    world.change("ada", max_running=100, max_device_seconds_per_day=2.5 * quantum)
    world.submit(count=THREADS)
    claims = [claim for claims in at_once(world.claim) for claim in claims]  # type: ignore[attr-defined]
    assert len(claims) == 3, "the third begins within the cap, and may end beyond it"


def test_a_used_up_day_says_how_much_and_until_when(world: World) -> None:
    world.change("ada", max_device_seconds_per_day=100.0)
    [waits] = world.submit(count=1)
    [claim] = world.claim()
    world.clock.move(120)
    world.queue.succeed(claim)
    with pytest.raises(DayUsedUp, match=r"120 of 100 device-seconds.*2026-01-02 00:00 UTC") as why:
        world.submit()
    assert why.value.retry_seconds == 24 * 3600 - 120
    world.clock.now = claim_day_after = world.clock.now + timedelta(days=1)
    assert world.row("ada").used_on < claim_day_after.date()
    world.submit()
    assert waits


def test_only_what_ran_since_midnight_counts_today(world: World) -> None:
    world.submit()
    world.clock.now = world.clock.now.replace(hour=23, minute=59)
    [claim] = world.claim()
    world.clock.move(180)
    world.queue.succeed(claim)
    row = world.row("ada")
    assert (row.used_on, row.used_seconds) == (world.clock.now.date(), 120)


def test_a_checkpoint_beyond_the_cap_is_refused_and_those_before_stay(world: World) -> None:
    world.change("ada", max_stored_bytes=9 + 20)
    world.submit()
    [claim] = world.claim()

    def save(step: int) -> None:
        sha256 = blobs.store(world.engine, b"%010d" % step)
        record = CheckpointRecord(step, 0.1, 1.0, 1.0, "d" * 64, sha256, 10, {})
        world.queue.record_checkpoint(claim, record)

    save(1)
    save(2)
    save(2)  # again: it is there already, and takes nothing
    with pytest.raises(StorageFull, match="take 39 bytes") as why:
        save(3)
    assert why.value.retry_seconds is None
    assert world.events(claim.job_id).count("checkpoint") == 2
    with pytest.raises(StorageFull, match="delete models or corpora"):
        world.submit()
    world.submit(kind="generate")


def test_a_cap_of_one_s_own_may_be_more_than_the_default(world: World) -> None:
    settings = world.settings.model_copy(update={"max_queued_per_user": 1})
    queue = Queue(world.engine, settings, world.clock)
    world.change("ada", max_queued=2)
    world.submit(count=1)
    with world.engine.begin() as connection:
        caps.check_job(connection, settings, world.user("ada"), "train", world.clock.now)
    world.submit("grace")
    with world.engine.begin() as connection, pytest.raises(QueueFull):
        caps.check_job(connection, settings, world.user("grace"), "train", world.clock.now)
    assert queue.settings.max_queued_per_user == 1
