"""``Prefer: wait=N``: a response with the texts, while wait slots are free."""

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from api.front import NoSeat
from api.services import EXTENSION
from tests.api.groups import Groups, sender, statuses
from tests.api.harness import ApiHarness, Person


def ask(person: Person, model: str, prefer: str, **headers: str) -> Any:
    body = {"model": model, "length": 5}
    return person.post("/v1/generate", body, headers={"Prefer": prefer, **headers})


@contextmanager
def meanwhile(
    harness: ApiHarness, person: Person, model: str, prefer: str
) -> Iterator[Future[Any]]:
    """Send a request that waits, in a thread of its own."""
    waiting = Person(harness.app.test_client(), person.name, person.key)
    with ThreadPoolExecutor(1) as threads:
        yield threads.submit(ask, waiting, model, prefer)


def the_queued_job(person: Person) -> Any:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        if jobs := person.items("/v1/jobs?kind=generate&status=queued"):
            return jobs[0]
        time.sleep(0.01)
    raise AssertionError("no job came")


def test_texts_written_in_time_are_the_response(
    harness: ApiHarness, ann: Person, disk: list[str]
) -> None:
    model = harness.model(ann)["id"]
    with meanwhile(harness, ann, model, "wait=5") as future:
        harness.write(the_queued_job(ann), ["in time"])
        answer = future.result()
    assert answer.status_code == 200
    assert answer.headers["Preference-Applied"] == "wait=5"
    assert answer.json["status"] == "succeeded"
    assert [text["text"] for text in answer.json["texts"]] == ["in time"]
    assert disk == ["unsynced", "flush"], "nobody has published this end"


def test_a_failure_in_time_is_the_response(
    harness: ApiHarness, ann: Person, disk: list[str]
) -> None:
    model = harness.model(ann)["id"]
    error = {"type": "/problems/x", "title": "x", "detail": "because"}
    with meanwhile(harness, ann, model, "respond-async, wait=5") as future:
        job = the_queued_job(ann)
        harness.queue.fail(harness.claim(job["id"], "generate"), error)
        answer = future.result()
    assert (answer.status_code, answer.json["status"]) == (200, "failed")
    assert answer.json["error"] == error
    assert disk == ["unsynced", "flush"], "nobody has published this end"


def test_a_job_that_takes_longer_is_the_response(
    harness: ApiHarness, ann: Person, disk: list[str]
) -> None:
    answer = ask(ann, harness.model(ann)["id"], "wait=1")
    assert answer.status_code == 202
    assert answer.headers["Preference-Applied"] == "wait=1"
    assert answer.headers["Location"] == f"/v1/jobs/{answer.json['id']}"
    assert answer.json["status"] == "queued"
    assert disk == ["unsynced", "flush"], "a 202 is on the disk"


def test_a_replay_tells_of_a_job_that_is_on_the_disk(
    harness: ApiHarness, ann: Person, disk: list[str]
) -> None:
    model = harness.model(ann)["id"]
    body, headers = {"model": model, "length": 5}, {"Idempotency-Key": "k"}
    with ThreadPoolExecutor(1) as threads:
        waits = sender(harness, ann, body, Prefer="wait=5", **headers)
        first = threads.submit(waits)
        job = the_queued_job(ann)
        assert disk == ["unsynced"]
        again = ann.post("/v1/generate", body, headers=headers)
        assert (again.status_code, again.json["id"]) == (202, job["id"])
        assert disk[-1] == "flush"
        harness.write(job, ["in time"])
        assert first.result().status_code == 200


def test_a_group_waits_for_the_disk_if_one_of_it_does_not_wait_for_its_end(
    harness: ApiHarness, ann: Person, disk: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    body = {"model": harness.model(ann)["id"], "length": 5}
    ways: list[dict[str, str]] = [{}, {"Prefer": "wait=1"}, {}]
    first, *others = (sender(harness, ann, body, **headers) for headers in ways)
    answers = Groups(monkeypatch).together(harness, first, others)
    assert statuses(answers) == [202] * 3
    assert disk == ["unsynced", "flush", "unsynced", "flush", "flush"]


@pytest.mark.parametrize("prefer", ["wait=0", "wait=soon", "respond-async", "await=3", ""])
def test_a_preference_without_a_wait_is_ignored(
    harness: ApiHarness, ann: Person, prefer: str
) -> None:
    answer = ask(ann, harness.model(ann)["id"], prefer)
    assert answer.status_code == 202
    assert "Preference-Applied" not in answer.headers


def test_requests_beyond_the_cap_do_not_wait(harness: ApiHarness, ann: Person) -> None:
    model = harness.model(ann)["id"]
    seats = harness.app.extensions[EXTENSION].wait_seats
    ann_id = ann.get("/v1/me").json["id"]
    held = seats.take(ann_id)
    with meanwhile(harness, ann, model, "wait=5") as future:
        waited = the_queued_job(ann)
        full = ask(ann, model, "wait=5")
        assert full.status_code == 202
        assert "Preference-Applied" not in full.headers
        assert full.json["queue"]["position"] == 2
        assert not future.done()
        harness.write(waited)
        assert future.result().status_code == 200
    # The seat of the waiting request is free again.
    seats.take(ann_id)
    with pytest.raises(NoSeat):
        seats.take(ann_id)
    assert not held.revoked.is_set()


def test_a_replay_waits_for_the_same_job(harness: ApiHarness, ann: Person) -> None:
    model = harness.model(ann)["id"]
    first = ask(ann, model, "", **{"Idempotency-Key": "k"})
    harness.write(first.json, ["once"])
    again = ask(ann, model, "wait=5", **{"Idempotency-Key": "k"})
    assert again.status_code == 200
    assert again.headers["Idempotency-Replayed"] == "true"
    assert (again.json["id"], again.json["texts"][0]["text"]) == (first.json["id"], "once")


def test_waiting_requests_return_when_the_server_stops(harness: ApiHarness, ann: Person) -> None:
    model = harness.model(ann)["id"]
    with meanwhile(harness, ann, model, "wait=5") as future:
        the_queued_job(ann)
        harness.app.extensions[EXTENSION].stopping.set()
        assert future.result(timeout=2).status_code == 202


def test_a_wait_ends_with_the_right_to_it(harness: ApiHarness, ann: Person) -> None:
    model = harness.model(ann)["id"]
    admin = harness.person("root", "admin")
    with meanwhile(harness, ann, model, "wait=30") as future:
        job = the_queued_job(ann)
        admin.delete(f"/v1/keys/{ann.key.split('_')[1]}")
        harness.write(job, ["too late to be seen"])
        answer = future.result()
    assert answer.status_code == 401
    assert "too late" not in answer.text
