"""Draining workers, and announcing something to all users."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from shared.database import make_sessions
from shared.tables import AuditEvent, Device
from shared.worker_registry import WorkerInfo, heartbeat, register
from tests.api.harness import ApiHarness, Person, problem


@pytest.fixture
def workers(harness: ApiHarness) -> None:
    for host, device in (("a", "cpu:0"), ("a", "cpu:1"), ("b", "cpu:0")):
        for lane in ("train", "generate"):
            register(harness.engine, WorkerInfo(host, device, lane, 1, {}), ready=True)  # type: ignore[arg-type]


def draining(harness: ApiHarness) -> set[str]:
    with make_sessions(harness.engine)() as session:
        return set(session.scalars(select(Device.id).where(Device.drain_requested_at.is_not(None))))


@pytest.mark.usefixtures("workers")
def test_a_device_and_a_host_are_drained(harness: ApiHarness, admin: Person) -> None:
    one = admin.post("/v1/devices/drain", {"host": "a", "device": "cpu:1"})
    assert (one.status_code, one.json["workers"]) == (202, ["a/cpu:1/generate", "a/cpu:1/train"])
    assert draining(harness) == {"a/cpu:1/generate", "a/cpu:1/train"}
    # This is how a worker hears of it.
    assert heartbeat(harness.engine, "a/cpu:1/train")
    assert not heartbeat(harness.engine, "a/cpu:0/train")
    whole = admin.post("/v1/devices/drain", {"host": "a"}).json["workers"]
    assert len(whole) == 4
    assert {each["id"] for each in admin.items("/v1/devices") if each["draining"]} == set(whole)
    # A worker that starts again works again.
    register(harness.engine, WorkerInfo("a", "cpu:1", "train", 2, {}), ready=True)
    assert "a/cpu:1/train" not in draining(harness)
    with make_sessions(harness.engine)() as session:
        events = session.scalars(
            select(AuditEvent).where(AuditEvent.action == "device.drained").order_by(AuditEvent.id)
        ).all()
        assert [event.details for event in events] == [
            {"host": "a", "device": "cpu:1"}, {"host": "a", "device": None},
        ]  # fmt: skip


@pytest.mark.usefixtures("workers")
def test_what_is_not_there_and_who_may_not(admin: Person, ann: Person, harness: ApiHarness) -> None:
    assert "z" in problem(admin.post("/v1/devices/drain", {"host": "z"}), 404)["detail"]
    problem(admin.post("/v1/devices/drain", {"host": "a", "device": "gpu:0"}), 404)
    problem(admin.post("/v1/devices/drain", {"host": ""}), 422)
    problem(ann.post("/v1/devices/drain", {"host": "a"}), 403)
    assert draining(harness) == set()


def test_an_announcement_replaces_the_one_before_and_ends(ann: Person, admin: Person) -> None:
    def shown() -> object:
        found = ann.get("/v1/announcement").json["announcement"]
        return found and (found["text"], found["level"])

    assert shown() is None
    assert admin.post("/v1/announcement", {"text": "Away at six."}).status_code == 201
    soon = (datetime.now(UTC) + timedelta(hours=2)).isoformat()
    made = admin.post(
        "/v1/announcement", {"text": "Away at 紅樓 six!", "level": "warning", "ends_at": soon}
    ).json
    assert (made["made_by"], made["ends_at"] is not None) == ("root", True)
    assert shown() == ("Away at 紅樓 six!", "warning")
    assert admin.delete("/v1/announcement").status_code == 204
    assert shown() is None
    assert admin.delete("/v1/announcement").status_code == 204


def test_what_can_not_be_announced(ann: Person, admin: Person) -> None:
    problem(ann.post("/v1/announcement", {"text": "x"}), 403)
    problem(ann.delete("/v1/announcement"), 403)
    assert "text" in problem(admin.post("/v1/announcement", {"text": ""}), 422)["detail"]
    assert "text" in problem(admin.post("/v1/announcement", {"text": "x" * 501}), 422)["detail"]
    problem(admin.post("/v1/announcement", {"text": "x", "level": "loud"}), 422)
    past = "2020-01-01T00:00:00Z"
    refused = problem(admin.post("/v1/announcement", {"text": "x", "ends_at": past}), 422)
    assert "future" in refused["detail"]


def test_an_admin_reads_what_is_stored_and_free(
    harness: ApiHarness, admin: Person, ann: Person
) -> None:
    before = admin.get("/v1/storage").json
    ann.upload("a text " * 1000, "one")
    ann.upload("a text " * 1000, "the same again")
    after = admin.get("/v1/storage").json
    assert after["corpora_bytes"] - before["corpora_bytes"] == 14_000
    # Equal texts are kept once, and compressed.
    assert 0 < after["blobs_bytes"] - before["blobs_bytes"] <= 7_000
    assert after["database_bytes"] > 0
    is_known = harness.engine.dialect.name == "sqlite"
    assert (after["disk_free_bytes"] is not None) == (after["disk_bytes"] is not None) == is_known
    if is_known:
        assert 0 < after["disk_free_bytes"] < after["disk_bytes"]
    problem(ann.get("/v1/storage"), 403)
