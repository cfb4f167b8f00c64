"""Requests that wait hear of the ends that workers publish; the rows decide all the same."""

import os
import signal
import sqlite3
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pytest
import redis
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from api.app import create_app
from api.http import prefer_wait
from api.permissions import waited_jobs
from api.services import EXTENSION, Services
from shared.broker import Broker
from shared.database import make_engine, make_sessions
from shared.job_ends import JobEndPublisher
from shared.queue import Queue
from shared.queue.types import Claim, JobEnd, StoredText
from shared.tables import GeneratedText, Job
from tests.api.conftest import settings_for
from tests.api.harness import ApiHarness, Person, record
from tests.services.redis import RedisServer, redis_server
from tests.services.statements import noted_statements
from tests.services.waiting import until

CROWD = 64


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A server of this test's own, to be stopped and wiped."""
    with redis_server() as server:
        yield server


@pytest.fixture
def crowd(database_url: str, server: RedisServer, tmp_path: Path) -> Iterator[ApiHarness]:
    """An API on that server, which lets a crowd wait."""
    settings = settings_for(database_url, server.url, tmp_path).model_copy(
        update={"wait_slots": 256, "wait_max_seconds": 60.0, "max_queued_per_user": 1000}
    )
    engine = make_engine(settings.database, settings.api_threads)
    app = create_app(settings, engine, Broker(settings.broker))
    yield ApiHarness(app, engine, Queue(engine, settings))
    engine.dispose()


@contextmanager
def waiting(
    harness: ApiHarness,
    person: Person,
    body: dict[str, Any],
    count: int = 1,
    prefer: str = "wait=30",
) -> Iterator[list[Future[Any]]]:
    """Send requests that wait, and go on once their jobs are queued."""
    before = len(queued(harness))

    def ask(_number: int) -> Any:
        one = Person(harness.app.test_client(), person.name, person.key)
        return one.post("/v1/generate", body, headers={"Prefer": prefer})

    with ThreadPoolExecutor(count) as threads:
        futures = [threads.submit(ask, number) for number in range(count)]
        until(lambda: len(queued(harness)) == before + count, "the jobs are queued")
        yield futures


def queued(harness: ApiHarness) -> list[str]:
    with make_sessions(harness.engine, read_only=True)() as session:
        found = session.scalars(
            select(Job.id).where(Job.kind == "generate", Job.status == "queued")
        )
        return list(found)


def services(harness: ApiHarness) -> Services:
    found: Services = harness.app.extensions[EXTENSION]
    return found


def hears(harness: ApiHarness) -> None:
    until(lambda: services(harness).job_ends.is_listening, "the API hears of ends")


def stored(harness: ApiHarness, job_id: str) -> list[StoredText]:
    """Read a job's texts as the worker that inserted them knows them."""
    with make_sessions(harness.engine)() as session:
        rows = session.execute(
            select(*GeneratedText.__table__.columns)
            .where(GeneratedText.job_id == job_id)
            .order_by(GeneratedText.position)
        )
        return [StoredText(**row._asdict()) for row in rows]


def claim(harness: ApiHarness) -> list[Claim]:
    claims: list[Claim] = []
    while found := harness.queue.claim("generate", "host/cpu/generate", 100):
        claims += found
    return claims


def finish(harness: ApiHarness, claims: Sequence[Claim], *texts: str) -> None:
    """End jobs as a worker does, without publishing it."""
    records = [
        record(
            number,
            text,
            one.checkpoint_id,
            copied_characters=3,
            copied_at=1,
            copied_from=5,
            known_grams=0.5,
            mean_logprob=-1 / 3,
            bits_per_char=2 / 3,
            logprobs=[-0.25, -1.5],
        )
        for one in claims[:1]
        for number, text in enumerate(texts or ("a text",))
    ]
    for one in claims:
        harness.queue.succeed(one, records)


def publish(harness: ApiHarness, *ends: JobEnd) -> None:
    publisher = JobEndPublisher(services(harness).settings.broker)
    publisher.publish(ends)
    publisher.flush()


def test_the_published_texts_are_the_response_as_the_rows_are(
    harness: ApiHarness, ann: Person
) -> None:
    body = {"model": harness.model(ann)["id"], "length": 5, "temperature": [0.5, 1], "seed": 3}
    with waiting(harness, ann, body) as [future]:
        hears(harness)
        [one] = claim(harness)
        finish(harness, [one], "first", "söcond\u2028\n")
        texts = stored(harness, one.job_id)
        with noted_statements(harness.engine) as reads:
            publish(harness, JobEnd(one.job_id, 1, texts))
            answer = future.result()
    assert answer.status_code == 200
    assert answer.json["texts"][1]["text"] == "söcond\u2028\n"
    assert answer.data == ann.get(f"/v1/jobs/{one.job_id}").data
    assert any("FROM jobs" in statement for statement in reads)
    assert not any("FROM texts" in statement for statement in reads)


def test_an_end_without_texts_wakes_the_request_that_reads_them(
    harness: ApiHarness, ann: Person
) -> None:
    with waiting(harness, ann, {"model": harness.model(ann)["id"], "length": 5}) as [future]:
        hears(harness)
        [one] = claim(harness)
        finish(harness, [one], "too long for the channel")
        publish(harness, JobEnd(one.job_id, 1))
        answer = future.result()
    assert answer.json["texts"][0]["text"] == "too long for the channel"


def test_a_lost_end_is_found_in_the_row(harness: ApiHarness, ann: Person) -> None:
    with waiting(harness, ann, {"model": harness.model(ann)["id"], "length": 5}) as [future]:
        hears(harness)
        finish(harness, claim(harness), "nobody said so")
        answer = future.result()
    assert (answer.status_code, answer.json["texts"][0]["text"]) == (200, "nobody said so")


def test_a_doubled_end_answers_once(harness: ApiHarness, ann: Person) -> None:
    body = {"model": harness.model(ann)["id"], "length": 5}
    with waiting(harness, ann, body) as [future]:
        hears(harness)
        [one] = claim(harness)
        finish(harness, [one], "once")
        end = JobEnd(one.job_id, 1, stored(harness, one.job_id))
        publish(harness, end, end)
        publish(harness, end)
        assert future.result().json["texts"][0]["text"] == "once"
    with waiting(harness, ann, body) as [future]:
        publish(harness, end)
        [one] = claim(harness)
        finish(harness, [one], "another")
        answer = future.result()
    assert (answer.json["id"], answer.json["texts"][0]["text"]) == (one.job_id, "another")


def test_the_end_of_an_older_attempt_says_nothing(harness: ApiHarness, ann: Person) -> None:
    body = {"model": harness.model(ann)["id"], "length": 5}
    with waiting(harness, ann, body) as [future]:
        hears(harness)
        [old] = claim(harness)
        finished = stored_of(old, "of the attempt that lost its lease")
        harness.queue.release(old)
        [new] = claim(harness)
        publish(harness, JobEnd(old.job_id, 1, finished))
        finish(harness, [new], "of the second attempt")
        publish(harness, JobEnd(old.job_id, 1, finished))
        publish(harness, JobEnd(old.job_id, 2, stored_of(new, "not the row's")))
        answer = future.result()
    assert answer.json["attempt"] == 2
    assert answer.json["texts"][0]["text"] == "of the second attempt"


def stored_of(claim: Claim, text: str) -> list[StoredText]:
    return [
        StoredText(
            **asdict(record(0, text, None)),
            id="00000000-0000-7000-8000-000000000000",
            job_id=claim.job_id,
            user_id=claim.user_id,
            model_id=claim.model_id,
            created_at=claim.claimed_at,
        )
    ]


def test_a_published_end_ends_no_job(harness: ApiHarness, ann: Person) -> None:
    body = {"model": harness.model(ann)["id"], "length": 5}
    with waiting(harness, ann, body, prefer="wait=2") as [future]:
        hears(harness)
        [one] = claim(harness)
        publish(harness, JobEnd(one.job_id, 1, stored_of(one, "of nobody")))
        answer = future.result()
    assert (answer.status_code, answer.json["status"]) == (202, "queued")
    assert "texts" not in answer.json


def test_a_cancelled_job_answers_its_waiting_request(harness: ApiHarness, ann: Person) -> None:
    with waiting(harness, ann, {"model": harness.model(ann)["id"], "length": 5}) as [future]:
        hears(harness)
        [job_id] = queued(harness)
        assert ann.post(f"/v1/jobs/{job_id}/cancel").status_code == 202
        answer = future.result()
    assert (answer.status_code, answer.json["status"]) == (200, "cancelled")
    assert answer.json["texts"] == []


def test_a_right_that_ended_meanwhile_is_looked_up_again(
    harness: ApiHarness, ann: Person, bob: Person
) -> None:
    model = harness.model(ann)
    corpus = f"/v1/corpora/{model['corpus']}"
    ann.patch(f"/v1/models/{model['id']}", {"visibility": "server"})
    ann.patch(corpus, {"visibility": "server"})
    with waiting(harness, bob, {"model": model["id"], "length": 5, "prompt": "It "}) as [future]:
        hears(harness)
        ann.patch(corpus, {"visibility": "private"})
        [one] = claim(harness)
        finish(harness, [one], "a text")
        publish(harness, JobEnd(one.job_id, 1, stored(harness, one.job_id)))
        answer = future.result()
    assert answer.json["corpus"] is None
    assert answer.json["texts"][0]["novelty"]["copied_from"] is None
    assert answer.data == bob.get(f"/v1/jobs/{one.job_id}").data


def test_a_key_revoked_meanwhile_hears_nothing(harness: ApiHarness, ann: Person) -> None:
    admin = harness.person("root", "admin")
    with waiting(harness, ann, {"model": harness.model(ann)["id"], "length": 5}) as [future]:
        hears(harness)
        admin.delete(f"/v1/keys/{ann.key.split('_')[1]}")
        [one] = claim(harness)
        finish(harness, [one], "too late to be seen")
        publish(harness, JobEnd(one.job_id, 1, stored(harness, one.job_id)))
        answer = future.result()
    assert answer.status_code == 401
    assert "too late" not in answer.text


def test_nobody_is_left_behind_who_waits(crowd: ApiHarness) -> None:
    ann = crowd.person("ann")
    body = {"model": crowd.model(ann)["id"], "length": 5}
    with waiting(crowd, ann, body, CROWD) as futures:
        hears(crowd)
        claims = claim(crowd)
        finish(crowd, claims)
        publish(crowd, *(JobEnd(one.job_id, 1, stored(crowd, one.job_id)) for one in claims))
        answers = [future.result() for future in futures]
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json["id"] for answer in answers}) == CROWD
    assert services(crowd).job_ends._waiters == {}


def test_jobs_that_end_together_are_read_by_one_look(
    crowd: ApiHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nobody looks by itself, however slow this machine is.
    monkeypatch.setattr(prefer_wait, "CHECK_SECONDS", 60.0)
    monkeypatch.setattr(waited_jobs, "SEEN_SECONDS", 60.0)
    ann = crowd.person("ann")
    body = {"model": crowd.model(ann)["id"], "length": 5}
    with waiting(crowd, ann, body, CROWD) as futures:
        hears(crowd)
        claims = claim(crowd)
        for one in claims:
            crowd.queue.succeed(one, [record(0, f"of {one.job_id}", one.checkpoint_id)])
        ends = [JobEnd(one.job_id, 1, stored(crowd, one.job_id)) for one in claims]
        with noted_statements(crowd.engine) as statements:
            publish(crowd, *ends)
            answers = [future.result() for future in futures]
    assert all(one.json["texts"][0]["text"] == f"of {one.json['id']}" for one in answers)
    for what in ("FROM jobs", "JOIN api_keys"):
        assert len([each for each in statements if what in each]) == 1


def test_what_was_read_long_before_the_answer_is_read_again(
    harness: ApiHarness, ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waited_jobs, "SEEN_SECONDS", -1.0)
    monkeypatch.setattr(prefer_wait, "CHECK_SECONDS", 60.0)
    with waiting(harness, ann, {"model": harness.model(ann)["id"], "length": 5}) as [future]:
        hears(harness)
        [one] = claim(harness)
        finish(harness, [one], "a text")
        end = JobEnd(one.job_id, 1, stored(harness, one.job_id))
        with noted_statements(harness.engine) as statements:
            publish(harness, end)
            answer = future.result()
    assert answer.json["texts"][0]["text"] == "a text"
    assert len([each for each in statements if "FROM jobs" in each]) == 2


def test_requests_read_for_themselves_what_could_not_be_read_for_all(
    harness: ApiHarness, ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[int] = []

    def fail(*_: Any) -> dict[str, Any]:
        tries.append(1)
        raise OperationalError("SELECT", {}, sqlite3.OperationalError("disk I/O error"))

    monkeypatch.setattr(waited_jobs, "jobs_as_shown", fail)
    with waiting(harness, ann, {"model": harness.model(ann)["id"], "length": 5}) as [future]:
        hears(harness)
        [one] = claim(harness)
        finish(harness, [one], "read alone")
        publish(harness, JobEnd(one.job_id, 1, stored(harness, one.job_id)))
        answer = future.result()
    assert tries
    assert (answer.status_code, answer.json["texts"][0]["text"]) == (200, "read alone")


@pytest.mark.parametrize("fate", ["killed", "frozen", "wiped", "cut"])
def test_a_crowd_that_waits_is_answered_whatever_becomes_of_redis(
    crowd: ApiHarness, server: RedisServer, fate: str
) -> None:
    ann = crowd.person("ann")
    body = {"model": crowd.model(ann)["id"], "length": 5}
    with waiting(crowd, ann, body, CROWD) as futures:
        hears(crowd)
        if fate == "wiped":
            server.flush()
        elif fate == "cut":
            cut_subscriptions(server)
        else:
            os.kill(server.pid, signal.SIGKILL if fate == "killed" else signal.SIGSTOP)
        try:
            claims = claim(crowd)
            finish(crowd, claims)
            publish(crowd, *(JobEnd(one.job_id, 1, stored(crowd, one.job_id)) for one in claims))
            answers = [future.result(30) for future in futures]
        finally:
            if fate == "frozen":
                os.kill(server.pid, signal.SIGCONT)
    assert {answer.status_code for answer in answers} == {200}
    assert all(answer.json["texts"] for answer in answers if answer.json["id"] == claims[0].job_id)


def cut_subscriptions(server: RedisServer) -> None:
    with redis.Redis.from_url(server.url) as client:
        client.client_kill_filter(_type="pubsub")


def test_texts_and_rows_have_the_same_columns() -> None:
    columns = set(GeneratedText.__table__.columns.keys())
    assert {field.name for field in fields(StoredText)} == columns
