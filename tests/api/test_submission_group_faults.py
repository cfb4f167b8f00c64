"""Groups of submissions, and what a database does to them: locks, cut connections, lost answers."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, event, text

from tests.api.groups import Groups, generations, sender, statuses
from tests.api.harness import ApiHarness, Person, problem
from tests.services.postgres import PostgresServer
from tests.services.waiting import until


@pytest.fixture
def groups(monkeypatch: pytest.MonkeyPatch) -> Groups:
    return Groups(monkeypatch)


@contextmanager
def holding(harness: ApiHarness, statement: str, **values: Any) -> Iterator[None]:
    """Hold the locks of a statement in a transaction of somebody else."""
    with harness.engine.connect() as connection, connection.begin() as transaction:
        connection.execute(text(statement), values)
        try:
            yield
        finally:
            transaction.rollback()


def test_a_lock_that_one_needs_does_not_hold_up_the_others(
    harness: ApiHarness, ann: Person, bob: Person, groups: Groups
) -> None:
    if harness.engine.dialect.name != "postgresql":
        pytest.skip("SQLite has one lock for all")
    model = harness.model(ann)["id"]
    ann.patch(f"/v1/models/{model}", {"visibility": "server"})
    body = {"model": model, "prompt": "It ", "length": 5}
    of_ann, of_bob = sender(harness, ann, body), sender(harness, bob, body)
    finished: list[Any] = []

    def of_bob_then_tell() -> Any:
        finished.append(of_bob())
        return finished[-1]

    def of_ann_at_last() -> Any:
        answer = of_ann()
        assert finished, "bob waited for ann's lock"
        return answer

    release = threading.Event()

    def hold() -> None:
        with holding(harness, "SELECT id FROM users WHERE name = 'ann' FOR UPDATE"):
            until(lambda: finished or release.wait(0.05), "bob's text")

    with ThreadPoolExecutor(1) as threads:
        holder = threads.submit(hold)
        time.sleep(0.2)
        answers = groups.together(harness, of_bob, [of_ann_at_last, of_bob_then_tell])
        release.set()
        holder.result()
    assert statuses(answers) == [202] * 3


def test_a_connection_cut_under_a_group_is_reopened_once(
    harness: ApiHarness, ann: Person, groups: Groups, postgres: PostgresServer
) -> None:
    if harness.engine.dialect.name != "postgresql":
        pytest.skip("SQLite has no connection to cut")
    model = harness.model(ann)["id"]
    plain = sender(harness, ann, {"model": model, "prompt": "It ", "length": 5})
    cuts = iter([True, False, False])

    def cut(connection: Connection, *_: Any) -> None:
        if next(cuts, False):
            pid = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
            with psycopg.connect(postgres.url_of("postgres"), autocommit=True) as server:
                server.execute("SELECT pg_terminate_backend(%s)", (pid,))

    event.listen(harness.engine, "commit", cut)
    answers = groups.together(harness, plain, [plain] * 3)
    event.remove(harness.engine, "commit", cut)
    assert statuses(answers) == [202] * 4
    assert generations(harness) == 4


def test_a_database_that_stays_away_is_said_to_all(
    harness: ApiHarness, ann: Person, groups: Groups, postgres: PostgresServer
) -> None:
    if harness.engine.dialect.name != "postgresql":
        pytest.skip("SQLite goes with its process alone")
    model = harness.model(ann)["id"]
    plain = sender(harness, ann, {"model": model, "prompt": "It ", "length": 5})
    name = harness.engine.url.database

    def lose_the_database(*_: Any) -> None:
        with psycopg.connect(postgres.url_of("postgres"), autocommit=True) as server:
            server.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
            server.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,)
            )

    event.listen(harness.engine, "commit", lose_the_database)
    answers = groups.together(harness, plain, [plain] * 3)
    event.remove(harness.engine, "commit", lose_the_database)
    with psycopg.connect(postgres.url_of("postgres"), autocommit=True) as server:
        server.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
    said = [problem(answer, 503) for answer in answers]
    assert {problem["type"] for problem in said} == {"/problems/database-unavailable"}
    # The first one's connection broke; those after it got none.
    assert "may or may not have been done" in said[0]["detail"]
    assert all("Nothing was changed" in problem["detail"] for problem in said[1:])
    assert generations(harness) == 0
    assert plain().status_code == 202


def test_a_commit_whose_answer_is_lost_is_not_repeated(
    harness: ApiHarness, ann: Person, groups: Groups, postgres: PostgresServer
) -> None:
    if harness.engine.dialect.name != "postgresql":
        pytest.skip("SQLite has no connection to cut")
    model = harness.model(ann)["id"]
    plain = sender(harness, ann, {"model": model, "prompt": "It ", "length": 5})
    cuts = iter([True])

    def commit_and_cut(connection: Connection) -> None:
        # The server has committed, and its answer never arrives.
        if next(cuts, False):
            pid = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
            connection.exec_driver_sql("COMMIT")
            with psycopg.connect(postgres.url_of("postgres"), autocommit=True) as server:
                server.execute("SELECT pg_terminate_backend(%s)", (pid,))
            connection.exec_driver_sql("SELECT 1")

    event.listen(harness.engine, "commit", commit_and_cut)
    answers = groups.together(harness, plain, [plain] * 3)
    event.remove(harness.engine, "commit", commit_and_cut)
    assert statuses(answers) == [202] * 4
    assert generations(harness) == 4
    for answer in answers:
        assert ann.get(f"/v1/jobs/{answer.json['id']}").status_code == 200
