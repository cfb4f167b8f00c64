"""Invariants that the database's constraints hold."""

import pytest
from sqlalchemy import delete, insert, update
from sqlalchemy.exc import IntegrityError

from shared.tables import ApiKey, Blob, Corpus, Job, User
from tests.queue.conftest import QueueHarness


@pytest.mark.parametrize(
    ("values", "constraint"),
    [
        ({"status": "unknown"}, "ck_jobs_status"),
        ({"kind": "unknown"}, "ck_jobs_kind"),
        ({"status": "running"}, "ck_jobs_running_has_a_lease"),
        ({"status": "succeeded"}, "ck_jobs_ended_has_an_end"),
        ({"error": {"title": "but not failed"}}, "ck_jobs_failed_says_why"),
        ({"attempt": -1}, "ck_jobs_attempt"),
    ],
)
def test_a_job_can_t_contradict_itself(
    harness: QueueHarness, values: dict[str, object], constraint: str
) -> None:
    harness.submit()
    with harness.engine.begin() as connection, pytest.raises(IntegrityError, match=constraint):
        connection.execute(update(Job).values(**values))


def test_bytes_of_a_corpus_can_t_be_deleted(harness: QueueHarness) -> None:
    with harness.engine.begin() as connection, pytest.raises(IntegrityError):
        connection.execute(delete(Blob))


def test_a_corpus_of_a_model_can_t_be_deleted(harness: QueueHarness) -> None:
    with harness.engine.begin() as connection, pytest.raises(IntegrityError):
        connection.execute(delete(Corpus))


def test_a_share_is_positive_and_a_role_is_known(harness: QueueHarness) -> None:
    for values in ({"share": 0.0}, {"role": "king"}):
        with harness.engine.begin() as connection, pytest.raises(IntegrityError):
            connection.execute(update(User).values(**values))


def test_two_keys_can_t_share_a_prefix(harness: QueueHarness) -> None:
    row = {
        "user_id": harness.users["ada"],
        "name": "k",
        "prefix": "12345678",
        "sha256": "0" * 64,
        "created_at": harness.clock.now,
    }
    with harness.engine.begin() as connection:
        connection.execute(insert(ApiKey).values(**row))
    with harness.engine.begin() as connection, pytest.raises(IntegrityError):
        connection.execute(insert(ApiKey).values(**row))
