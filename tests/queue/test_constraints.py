"""Invariants that the database itself holds, whoever writes."""

import pytest
from sqlalchemy import delete, insert, update
from sqlalchemy.exc import IntegrityError

from shared.tables import ApiKey, Blob, Corpus, Job, User
from tests.queue.conftest import World


@pytest.mark.parametrize(
    ("values", "constraint"),
    [
        ({"status": "unheard of"}, "ck_jobs_status"),
        ({"kind": "unheard of"}, "ck_jobs_kind"),
        ({"status": "running"}, "ck_jobs_running_has_a_lease"),
        ({"status": "succeeded"}, "ck_jobs_ended_has_an_end"),
        ({"error": {"title": "but not failed"}}, "ck_jobs_failed_says_why"),
        ({"attempt": -1}, "ck_jobs_attempt"),
    ],
)
def test_a_job_can_t_contradict_itself(
    world: World, values: dict[str, object], constraint: str
) -> None:
    world.submit()
    with world.engine.begin() as connection, pytest.raises(IntegrityError, match=constraint):
        connection.execute(update(Job).values(**values))


def test_bytes_that_a_corpus_names_can_t_be_deleted(world: World) -> None:
    with world.engine.begin() as connection, pytest.raises(IntegrityError):
        connection.execute(delete(Blob))


def test_a_corpus_that_a_model_names_can_t_be_deleted(world: World) -> None:
    with world.engine.begin() as connection, pytest.raises(IntegrityError):
        connection.execute(delete(Corpus))


def test_a_share_is_positive_and_a_role_is_known(world: World) -> None:
    for values in ({"share": 0.0}, {"role": "king"}):
        with world.engine.begin() as connection, pytest.raises(IntegrityError):
            connection.execute(update(User).values(**values))


def test_two_keys_can_t_share_a_prefix(world: World) -> None:
    row = {
        "user_id": world.users["ada"],
        "name": "k",
        "prefix": "12345678",
        "sha256": "0" * 64,
        "created_at": world.clock.now,
    }
    with world.engine.begin() as connection:
        connection.execute(insert(ApiKey).values(**row))
    with world.engine.begin() as connection, pytest.raises(IntegrityError):
        connection.execute(insert(ApiKey).values(**row))
