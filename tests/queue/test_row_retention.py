"""Old rows go once a setting says so, and nothing goes that another row refers to."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from quire.main import run
from shared import blobs
from shared.database import make_sessions
from shared.queue.maintenance.row_retention import ROWS_AT_ONCE, forget_old_rows
from shared.queue.types import CheckpointRecord, ProgressReport, TextRecord
from shared.settings import Settings
from shared.tables import (
    AuditEvent,
    Checkpoint,
    Delivery,
    DeliveryStatus,
    GeneratedText,
    Job,
    JobEvent,
    Metric,
    Notification,
)
from tests.queue.conftest import QueueHarness

EVERYTHING = {
    "keep_jobs_days": 10.0, "keep_texts_days": 10.0,
    "keep_events_days": 10.0, "keep_metrics_days": 10.0,
}  # fmt: skip


def text(position: int = 0, checkpoint: str | None = None) -> TextRecord:
    return TextRecord(position, "It ", "was", 0.5, None, None, 7, "length", checkpoint)


def count(harness: QueueHarness, table: Any) -> int:
    with make_sessions(harness.engine)() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


@pytest.fixture
def old(harness: QueueHarness) -> dict[str, str]:
    """Jobs of every kind, long ago by the clock of the rows."""
    written = harness.submit(kind="generate")[0]
    cancelled = harness.submit(kind="generate")[0]
    harness.cancel(cancelled)
    [claim] = harness.claim("generate")
    harness.queue.succeed(claim, [text()])
    trained = harness.submit()[0]
    [claim] = harness.claim()
    sha256 = blobs.store(harness.engine, b"network")
    record = CheckpointRecord(10, 0.1, 1.0, 1.0, "0" * 64, sha256, 7)
    harness.queue.record_checkpoint(claim, record)
    report = ProgressReport(10, 100, 0.1, 1.0, 1.0, 1.0, 0.1, 10.0, 1.0, 1.0)
    harness.queue.record_progress(claim, report, validated=True)
    harness.queue.succeed(claim)
    waits = harness.submit(kind="generate")[0]
    return {"written": written, "cancelled": cancelled, "trained": trained, "waits": waits}


def settings(**days: float) -> Settings:
    return Settings(**days)  # type: ignore[arg-type]


def test_by_default_nothing_goes(harness: QueueHarness, old: dict[str, str]) -> None:
    before = [count(harness, table) for table in (Job, GeneratedText, JobEvent, Metric)]
    forget_old_rows(harness.engine, settings())
    assert [count(harness, table) for table in (Job, GeneratedText, JobEvent, Metric)] == before


def test_what_is_young_stays(harness: QueueHarness, old: dict[str, str]) -> None:
    # The rows are from January 2026 by the test's clock.
    assert forget_old_rows(harness.engine, settings(**dict.fromkeys(EVERYTHING, 36_500.0))) == 0


def test_a_job_with_a_text_a_model_or_a_checkpoint_stays(
    harness: QueueHarness, old: dict[str, str]
) -> None:
    forget_old_rows(harness.engine, settings(keep_jobs_days=10))
    with make_sessions(harness.engine)() as session:
        left = set(session.scalars(select(Job.id)))
    assert left == {old["written"], old["trained"], old["waits"]}
    assert count(harness, GeneratedText) == 1


def test_with_everything_set_only_what_is_cited_stays(
    harness: QueueHarness, old: dict[str, str]
) -> None:
    forget_old_rows(harness.engine, settings(**EVERYTHING))
    with make_sessions(harness.engine)() as session:
        assert set(session.scalars(select(Job.id))) == {old["trained"], old["waits"]}
        # The waiting job keeps its history.
        assert set(session.scalars(select(JobEvent.job_id))) == {old["waits"]}
    assert count(harness, GeneratedText) == 0
    assert count(harness, Metric) == 0
    assert count(harness, Checkpoint) == 1


def test_the_job_that_a_waiting_one_comes_after_stays(harness: QueueHarness) -> None:
    first = harness.submit(kind="generate")[0]
    second = harness.submit(kind="generate", after_job_id=first)[0]
    [claim] = harness.claim("generate")
    assert claim.job_id == first
    harness.queue.succeed(claim)
    forget_old_rows(harness.engine, settings(**EVERYTHING))
    with make_sessions(harness.engine)() as session:
        assert set(session.scalars(select(Job.id))) == {first, second}


@pytest.mark.parametrize("status", ["pending", "delivered", "failed"])
def test_a_job_goes_with_what_was_sent_about_it_but_not_before(
    harness: QueueHarness, status: DeliveryStatus
) -> None:
    job_id = harness.submit(kind="generate")[0]
    harness.cancel(job_id)
    user_id, now = harness.user("ada"), harness.clock.now
    told = {"user_id": user_id, "job_id": job_id, "kind": "webhook", "created_at": now}
    with make_sessions(harness.engine)() as session, session.begin():
        session.add(Notification(**told, target="https://hooks.example/"))
        pending = status == "pending"
        session.add(
            Delivery(
                **told, target="https://hooks.example/", event="job.ended", payload={},
                status=status, next_try_at=now if pending else None,
                ended_at=None if pending else now,
            )
        )  # fmt: skip
    forget_old_rows(harness.engine, settings(**EVERYTHING))
    left = [count(harness, table) for table in (Job, Notification, Delivery)]
    assert left == ([1, 1, 1] if pending else [0, 0, 0])


def test_many_go_in_small_transactions(harness: QueueHarness) -> None:
    with make_sessions(harness.engine).begin() as session:
        session.add_all(
            AuditEvent(at=harness.clock.now - timedelta(days=5), action="user.created")
            for _ in range(ROWS_AT_ONCE + 5)
        )
    assert forget_old_rows(harness.engine, settings(audit_days=1), batches=1) == ROWS_AT_ONCE
    assert forget_old_rows(harness.engine, settings(audit_days=1)) == 5


def test_the_command_shows_first_and_then_deletes(
    harness: QueueHarness,
    old: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("DATABASE_URL", harness.engine.url.render_as_string(hide_password=False))
    before = count(harness, Job)
    assert run(["gc", "--jobs-days", "10", "--texts-days", "10"]) == 0
    shown = capsys.readouterr()
    assert "finished jobs" in shown.out
    assert "Nothing was deleted" in shown.err
    assert count(harness, Job) == before
    assert run(["gc", "--jobs-days", "10", "--texts-days", "10", "--yes"]) == 0
    # The job that was cancelled, and the one whose text went first.
    assert count(harness, Job) == before - 2
    assert run(["gc", "--jobs-days", "-1"]) == 2
