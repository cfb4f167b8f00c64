"""Requests that wait hear of the ends that workers publish; the rows decide all the same."""

import os
import signal
from dataclasses import fields

import pytest
import redis

from shared.queue.types import JobEnd, StoredText
from shared.tables import GeneratedText
from tests.api import waits
from tests.api.harness import ApiHarness, Person
from tests.api.waits import (
    CROWD,
    claim,
    finish,
    hears,
    publish,
    queued,
    services,
    stored,
    stored_of,
    waiting,
)
from tests.services.redis import RedisServer
from tests.services.statements import noted_statements

# Fixtures.
crowd, server = waits.crowd, waits.server


def test_the_published_texts_are_the_response_as_the_rows_are(
    harness: ApiHarness, ann: Person, disk: list[str]
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
    assert disk == ["unsynced"], "the commit of the end has waited for both"


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


@pytest.mark.parametrize("is_told", [True, False], ids=["told", "not told"])
def test_nobody_is_left_behind_who_waits(crowd: ApiHarness, is_told: bool) -> None:
    ann = crowd.person("ann")
    body = {"model": crowd.model(ann)["id"], "length": 5}
    # From the beginning, so that those who share a transaction sleep through its end.
    services(crowd).job_ends.start()
    hears(crowd)
    with waiting(crowd, ann, body, CROWD) as futures:
        claims = claim(crowd)
        finish(crowd, claims)
        if is_told:
            publish(crowd, *(JobEnd(one.job_id, 1, stored(crowd, one.job_id)) for one in claims))
        answers = [future.result() for future in futures]
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json["id"] for answer in answers}) == CROWD
    assert services(crowd).job_ends._waiters == {}


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
