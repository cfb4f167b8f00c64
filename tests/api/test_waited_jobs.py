"""What requests that wait are answered is what was read after the end, for all at once."""

import sqlite3
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from api.http import prefer_wait
from api.permissions import waited_jobs
from shared.queue.types import JobEnd
from tests.api import waits
from tests.api.harness import ApiHarness, Person, record
from tests.api.waits import (
    CROWD,
    claim,
    finish,
    hears,
    publish,
    stored,
    waiting,
)
from tests.services.statements import noted_statements

# Fixtures.
crowd, server = waits.crowd, waits.server


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
