"""The database connection is lost during a request."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, event

from tests.api.harness import ApiHarness, Person, assert_succeeded, problem
from tests.services.postgres import Databases, PostgresServer


@pytest.fixture
def database_url(migrated_postgres: Databases) -> Iterator[str]:
    with migrated_postgres.fresh() as url:
        yield url


@contextmanager
def connection_lost(harness: ApiHarness, postgres: PostgresServer, when: str) -> Iterator[None]:
    """Let the server terminate each connection at its `begin` or `commit`."""

    def end(connection: Connection) -> None:
        driver: Any = connection.connection.dbapi_connection
        with psycopg.connect(postgres.url, autocommit=True) as server:
            # This waits until the backend has exited.
            server.execute("SELECT pg_terminate_backend(%s, 10000)", [driver.info.backend_pid])

    event.listen(harness.engine, when, end)
    try:
        yield
    finally:
        event.remove(harness.engine, when, end)


def test_a_write_with_an_unknown_outcome_is_safe_to_retry(
    harness: ApiHarness, ann: Person, postgres: PostgresServer
) -> None:
    asked = {"json": {"corpus": ann.upload()}, "headers": {"Idempotency-Key": "once"}}
    with connection_lost(harness, postgres, "commit"):
        answer = ann.send("POST", "/v1/train", **asked)
    detail = problem(answer, 503)["detail"]
    assert "may or may not have been done. Send it again with the same Idempotency-Key" in detail
    assert "Nothing was changed" not in detail
    assert int(answer.headers["Retry-After"]) > 0
    assert_succeeded(ann.send("POST", "/v1/train", **asked))
    assert len(ann.items("/v1/jobs")) == 1


def test_a_failed_read_says_that_nothing_was_changed(
    harness: ApiHarness, ann: Person, postgres: PostgresServer
) -> None:
    with connection_lost(harness, postgres, "begin"):
        answer = ann.get("/v1/jobs")
    assert "Nothing was changed. Try again" in problem(answer, 503)["detail"]
    assert ann.get("/v1/jobs").status_code == 200
