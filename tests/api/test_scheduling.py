"""Scheduling options; pause, resume and promote; and the queue."""

from datetime import UTC, datetime, timedelta

import pytest

from shared.tables import User
from shared.worker_registry import WorkerInfo, register
from tests.api.harness import ApiHarness, Person, problem
from tests.api.test_private import UNKNOWN_ID
from tests.worker.harness import until


def soon(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


def place(person: Person, job_id: str) -> dict[str, object]:
    found: dict[str, object] = person.get(f"/v1/jobs/{job_id}").json["queue"]
    return found


def waits_for(
    person: Person, job_id: str, reason: str, position: int | None = None
) -> dict[str, object]:
    """Wait for a job's place to have this reason; forecasts are cached for a moment."""

    def check() -> dict[str, object] | None:
        found = place(person, job_id)
        matches = position in (None, found["position"])
        return found if matches and reason in str(found["reason"]) else None

    return until(check, f"{reason!r}, not {place(person, job_id)}", 10)


def with_worker(harness: ApiHarness, lane: str = "train") -> None:
    register(harness.engine, WorkerInfo("host", "cpu", lane, 1, {}), ready=True)  # type: ignore[arg-type]


def test_a_job_has_its_scheduling_options(ann: Person) -> None:
    corpus = ann.upload()
    first = ann.train(corpus)
    assert (first["priority"], first["after"], first["start_before"]) == ("normal", None, None)
    asked = {
        "priority": "high",
        "after": first["id"],
        "start_before": soon(3600),
        "deadline_seconds": 60,
    }
    second = ann.train(corpus, **asked)
    assert (second["priority"], second["after"]) == ("high", first["id"])
    assert second["deadline_seconds"] == 60
    told = datetime.fromisoformat(second["start_before"])
    assert told == datetime.fromisoformat(str(asked["start_before"]))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("priority", "urgent"),
        ("after", "the other one"),
        ("start_before", "2020-01-01T00:00:00Z"),
        ("start_before", "2030-01-01T00:00:00"),
        ("start_before", "2030-02-31T00:00:00Z"),
        ("start_before", 2_000_000_000),
        ("deadline_seconds", 0),
        ("deadline_seconds", "long"),
    ],
)
def test_an_invalid_scheduling_option_is_named(ann: Person, field: str, value: object) -> None:
    refused = ann.post("/v1/train", {"corpus": ann.upload(), field: value})
    assert [error["field"] for error in problem(refused, 422)["errors"]] == [field]


def test_after_takes_own_jobs_that_may_still_succeed(
    harness: ApiHarness, ann: Person, bob: Person
) -> None:
    corpus = ann.upload(visibility="server")
    of_ann = ann.train(corpus)
    for body in ({"after": of_ann["id"]}, {"after": UNKNOWN_ID}):
        refused = bob.post("/v1/train", {"corpus": corpus, **body})
        assert str(body["after"]) in problem(refused, 404)["detail"]
    ann.post(f"/v1/jobs/{of_ann['id']}/cancel")
    refused = ann.post("/v1/train", {"corpus": corpus, "after": of_ann["id"]})
    assert "been cancelled" in problem(refused, 409)["detail"]


def test_a_generation_can_wait_for_the_training_of_its_model(
    harness: ApiHarness, ann: Person
) -> None:
    corpus = ann.upload()
    training, other = ann.train(corpus), ann.train(corpus)
    body = {"model": training["model"], "prompt": "It"}
    assert "`after`" in problem(ann.post("/v1/generate", body), 409)["detail"]
    problem(ann.post("/v1/generate", body | {"after": other["id"]}), 409)
    text = ann.post("/v1/generate", body | {"after": training["id"]})
    assert text.status_code == 202
    waits = waits_for(ann, text.json["id"], f"after job {training['id']}")
    assert (waits["position"], waits["starts_at"]) == (None, None)
    claim = harness.claim(training["id"])
    harness.checkpoint(claim, 3)
    harness.queue.succeed(claim)
    assert harness.claim(text.json["id"], "generate")


def test_pause_and_resume(harness: ApiHarness, ann: Person) -> None:
    job = ann.train(ann.upload())
    path = f"/v1/jobs/{job['id']}"
    paused = ann.post(f"{path}/pause")
    assert (paused.status_code, paused.json["status"]) == (202, "paused")
    assert "queue" not in paused.json
    assert ann.post(f"{path}/resume").json["status"] == "queued"
    claim = harness.claim(job["id"])
    asked = ann.post(f"{path}/pause").json
    assert (asked["status"], asked["pause_requested"]) == ("running", True)
    harness.queue.release(claim, "paused")
    assert ann.get(path).json["status"] == "paused"
    assert [row["id"] for row in ann.items("/v1/jobs?status=paused")] == [job["id"]]
    ann.post(f"{path}/cancel")
    for ask in ("pause", "resume"):
        assert "already" in problem(ann.post(f"{path}/{ask}"), 409)["detail"]


@pytest.mark.parametrize("action", ["promote", "lift"])
def test_only_an_admin_promotes_and_sees_no_more_of_the_job(
    harness: ApiHarness, ann: Person, bob: Person, admin: Person, action: str
) -> None:
    corpus = ann.upload(visibility="server")
    first, second = bob.train(corpus), ann.train(corpus, name="secret")
    path = f"/v1/jobs/{second['id']}/{action}"
    problem(ann.post(path), 403)
    promoted = admin.post(path)
    assert promoted.status_code == 202
    assert promoted.json == {"id": second["id"], "kind": "train", "status": "queued"}
    problem(admin.post(f"/v1/jobs/{UNKNOWN_ID}/{action}"), 404)
    with_worker(harness)
    assert waits_for(ann, second["id"], "an admin put it first")["position"] == 1
    assert waits_for(bob, first["id"], "one job that an admin put first")["position"] == 2
    assert harness.queue.claim("train", "host/cpu/train")[0].job_id == second["id"]


def test_each_queued_job_has_its_reason_to_wait(
    harness: ApiHarness, ann: Person, bob: Person
) -> None:
    corpus = ann.upload(visibility="server")
    first, second = ann.train(corpus), ann.train(corpus)
    assert waits_for(ann, first["id"], "no worker for train is up")["starts_at"] is None
    with_worker(harness)
    assert waits_for(ann, first["id"], "the next device that is free")["position"] == 1
    behind = waits_for(ann, second["id"], "one of your own jobs")
    assert behind["position"] == 2
    assert behind["starts_at"] is not None
    with harness.engine.begin() as connection:
        users, mine = User.__table__, User.name == "ann"
        now = datetime.now(UTC)
        connection.execute(users.update().where(mine).values(served_seconds=9e4, served_at=now))
    bob.train(corpus)
    bob.train(corpus)
    waits_for(ann, first["id"], "one user served less", 3)
    with harness.engine.begin() as connection:
        connection.execute(users.update().where(mine).values(max_running=0))
    waits_for(ann, first["id"], "your cap of 0 running")
    with harness.engine.begin() as connection:
        caps = {"max_running": None, "max_device_seconds_per_day": 0.0}
        connection.execute(users.update().where(mine).values(**caps))
    tomorrow = waits_for(ann, first["id"], "your cap of device time a day, until 00:00 UTC")
    assert str(tomorrow["starts_at"]).endswith("T00:00:00Z")
    listed = {job["id"]: job["queue"] for job in ann.items("/v1/jobs")}
    assert listed[second["id"]]["position"] == 4


def test_the_queue_names_own_jobs_only(
    harness: ApiHarness, ann: Person, bob: Person, admin: Person
) -> None:
    corpus = ann.upload(visibility="server")
    first, second = ann.train(corpus, name="hers"), ann.train(corpus)
    of_bob = bob.train(corpus, name="his own")
    # A line is kept for a moment.
    until(lambda: ann.get("/v1/queue").json["lanes"][0]["queued"] == 3, "the line", 10)
    line = ann.get("/v1/queue").json
    train, generate = line["lanes"]
    assert (train["queued"], train["users"], train["running"], train["workers"]) == (3, 2, 0, 0)
    assert generate["queued"] == 0
    turns = [(turn["position"], turn["job"], turn["name"], turn["user"]) for turn in line["line"]]
    assert turns == [
        (1, first["id"], "hers", "ann"),
        (2, None, None, None),
        (3, second["id"], second["name"], "ann"),
    ]
    seen = admin.get("/v1/queue?kind=train&limit=2").json
    assert [turn["user"] for turn in seen["line"]] == ["ann", "bob"]
    for text in (ann.get("/v1/queue").text, admin.get("/v1/queue").text):
        assert "his own" not in text
        assert of_bob["id"] not in text
    problem(ann.get("/v1/queue?limit=0"), 422)


def test_the_queue_names_an_own_promoted_job_at_its_place(
    harness: ApiHarness, ann: Person, bob: Person, admin: Person
) -> None:
    corpus = ann.upload(visibility="server")
    first, of_bob = ann.train(corpus), bob.train(corpus)
    urgent = ann.train(corpus)
    admin.post(f"/v1/jobs/{urgent['id']}/promote")
    until(lambda: ann.get("/v1/queue").json["lanes"][0]["queued"] == 3, "the line", 10)
    waits_for(ann, urgent["id"], "no worker")
    for person, jobs in (
        (ann, [urgent["id"], None, first["id"]]),
        (bob, [None, of_bob["id"], None]),
    ):
        turns = person.get("/v1/queue").json["line"]
        assert [turn["job"] for turn in turns] == jobs
        for job_id in filter(None, jobs):
            assert place(person, job_id)["position"] == jobs.index(job_id) + 1


def test_a_long_queue_is_in_the_order_of_the_claims(harness: ApiHarness, ann: Person) -> None:
    """Every position that users are shown is that of the claim."""
    people = [ann, *(harness.person(f"user{number}") for number in range(4))]
    corpus = ann.upload(visibility="server")
    told = {}
    for count, person in enumerate(people, start=1):
        for _ in range(count):
            person.train(corpus)
    until(lambda: ann.get("/v1/queue").json["lanes"][0]["queued"] == 15, "the line", 10)
    for person in people:
        for job in person.items("/v1/jobs"):
            told[job["queue"]["position"]] = job["id"]
    assert sorted(told) == list(range(1, 16))
    claims = harness.queue.claim("train", "host/cpu/train", 15)
    assert [claim.job_id for claim in claims] == [told[n] for n in range(1, 16)]
