"""Share links: what strangers see with one, until it ends, and nothing else."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, update
from werkzeug.test import TestResponse

from api.services import EXTENSION
from shared.clock import database_now
from shared.event_publisher import EventPublisher
from shared.settings import Settings
from shared.share_links import forget_expired_shares
from shared.tables import ShareLink
from tests.api.harness import ApiHarness, Person, problem, record
from tests.api.sse import parse

NOWHERE = "01890a5d-ac96-774b-bcce-b302099a8057"


@pytest.fixture(autouse=True)
def _short_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.operations.following.event_stream.BLOCK_SECONDS", 0.3)
    monkeypatch.setattr("api.operations.following.job_follower.BLOCK_SECONDS", 0.3)


def share(person: Person, **fields: Any) -> Any:
    made = person.post("/v1/shares", fields)
    assert made.status_code == 201, made.text
    return made.json


def see(harness: ApiHarness, token: str, rest: str = "", **options: Any) -> TestResponse:
    """What whoever has a link sees: they have no key."""
    return harness.app.test_client().get(f"/v1/shared/{token}{rest}", **options)


def training(harness: ApiHarness, person: Person) -> Any:
    """A training that runs, with a point of its curve and a text."""
    job = person.train(person.upload(), name="private muse")
    claim = harness.claim(job["id"])
    harness.checkpoint(claim, 100)
    harness.progress(claim, 100)
    return job, claim


def test_a_job_is_shown_to_whoever_has_its_link(
    harness: ApiHarness, ann: Person, admin: Person
) -> None:
    job, claim = training(harness, ann)
    made = share(ann, job=job["id"])
    assert made["url"] == f"http://localhost/shared#{made['token']}"
    assert made["token"].startswith("quire_share_")
    assert len(made["token"]) > 50
    expires_in = datetime.fromisoformat(made["expires_at"]) - datetime.now(UTC)
    assert timedelta(days=6.9) < expires_in < timedelta(days=7.1)
    seen = see(harness, made["token"])
    assert seen.status_code == 200
    assert seen.headers["Cache-Control"] == "no-store"
    shown = seen.json
    assert (shown["kind"], shown["owner"], shown["job"]["status"]) == ("job", "ann", "running")
    assert shown["job"]["progress"]["step"] == 100
    assert shown["job"]["model"] is shown["job"]["corpus"] is shown["job"]["after"] is None
    for secret in (job["model"], job["corpus"]):
        assert secret not in seen.text
    harness.queue.record_event(claim, "rolled_back", step=90, back_to=80, loss="nan")
    harness.queue.record_event(claim, "checkpoint_waits", reason="a secret of the server's")
    events = see(harness, made["token"], "/history").json["items"]
    assert [(each["type"], each["data"]) for each in events] == [
        ("claimed", {}), ("rolled_back", {"step": 90, "back_to": 80}),
    ]  # fmt: skip
    after = see(harness, made["token"], f"/history?after={events[0]['id']}").json["items"]
    assert after == events[1:]
    whole = ann.get(f"/v1/jobs/{job['id']}/metrics").json
    assert see(harness, made["token"], "/metrics").json == whole
    assert see(harness, made["token"], "/metrics?points=10").status_code == 200
    harness.queue.succeed(claim)
    assert see(harness, made["token"]).json["job"]["status"] == "succeeded"
    assert [each["id"] for each in ann.items("/v1/shares")] == [made["id"]]
    assert "token" not in ann.items("/v1/shares")[0]
    assert ann.delete(f"/v1/shares/{made['id']}").status_code == 204
    assert ann.items("/v1/shares") == []
    for rest in ("", "/metrics", "/texts", "/history", "/events"):
        refused = problem(see(harness, made["token"], rest), 404)
        assert refused["type"] == "/problems/share-link-unknown"
    actions = [each["action"] for each in admin.items("/v1/audit?user=ann")]
    assert actions[:2] == ["share.revoked", "share.created"]
    audit = admin.get("/v1/audit").text
    assert made["token"] not in audit
    assert job["id"] not in audit, "it is as private as before"


def test_a_text_is_shown_without_what_its_owner_alone_sees(
    harness: ApiHarness, ann: Person
) -> None:
    model = harness.model(ann)
    job = ann.post("/v1/generate", {"model": model["id"]}).json
    claim = harness.claim(job["id"], "generate")
    copied = {"copied_characters": 3, "copied_at": 0, "copied_from": 7, "known_grams": 0.5}
    spans = {"copied_spans": [(0, 16, 7)]}
    harness.queue.succeed(claim, [record(0, "one of two", None, **copied, **spans)])
    [text] = ann.get(f"/v1/jobs/{job['id']}").json["texts"]
    ann.patch(f"/v1/texts/{text['id']}", {"note": "what I think of it"})
    token = share(ann, text=text["id"])["token"]
    seen = see(harness, token)
    shown = seen.json["text"]
    assert (seen.json["kind"], shown["text"]) == ("text", "one of two")
    assert "job" not in seen.json
    assert shown["model"] is shown["note"] is shown["copied_spans"] is None
    assert (shown["kept"], shown["novelty"]["copied_from"]) == (False, None)
    assert model["id"] not in seen.text
    for rest in ("/metrics", "/texts", "/events"):
        problem(see(harness, token, rest), 404)
    of_job = share(ann, job=job["id"])["token"]
    [listed] = see(harness, of_job, "/texts").json["items"]
    assert listed == shown


def test_links_that_are_no_links_answer_alike(
    harness: ApiHarness, ann: Person, bob: Person, admin: Person
) -> None:
    """Unknown, revoked, expired, or of an owner who is disabled."""
    job, _ = training(harness, ann)
    unknown = problem(see(harness, f"quire_share_{'x' * 43}"), 404)
    revoked, expired, disabled = (share(ann, job=job["id"]) for _ in range(3))
    ann.delete(f"/v1/shares/{revoked['id']}")
    with harness.engine.begin() as connection:
        past = database_now(connection) - timedelta(seconds=1)
        of_it = update(ShareLink).where(ShareLink.id == expired["id"])
        connection.execute(of_it.values(expires_at=past))
    assert [each["id"] for each in ann.items("/v1/shares")] == [disabled["id"]]
    admin.patch("/v1/users/ann", {"disabled": True})
    for link in (revoked, expired, disabled):
        assert problem(see(harness, link["token"]), 404) == unknown
    admin.patch("/v1/users/ann", {"disabled": False})
    assert see(harness, disabled["token"]).status_code == 200
    with harness.engine.begin() as connection:
        assert forget_expired_shares(connection, database_now(connection)) == 1
        assert connection.scalars(select(ShareLink.id)).all() == [disabled["id"]]
        # Nothing in the row opens the link.
        [row] = connection.execute(select(ShareLink.__table__)).all()
        assert disabled["token"].removeprefix("quire_share_") not in str(row)
    # Guesses are counted as refused sign-ins are.
    event = next(iter(admin.items("/v1/audit?action=sign_in.refused")))
    assert event["details"]["reasons"] == {"share link": 4}


@pytest.mark.parametrize(
    ("fields", "status", "told"),
    [
        ({}, 422, "one of job and text"),
        ({"job": NOWHERE, "text": NOWHERE}, 422, "one of job and text"),
        ({"job": NOWHERE}, 404, "does not exist"),
        ({"text": NOWHERE}, 404, "does not exist"),
        ({"job": "poet"}, 422, "job"),
        ({"job": None, "expires_at": "2020-01-01T00:00:00Z"}, 422, "must be in the future"),
    ],
)
def test_what_can_not_be_shared(
    harness: ApiHarness, ann: Person, bob: Person, fields: dict[str, Any], status: int, told: str
) -> None:
    job, _ = training(harness, ann)
    if "expires_at" in fields:
        fields = fields | {"job": job["id"]}
    assert told in problem(ann.post("/v1/shares", fields), status)["detail"]
    theirs = problem(bob.post("/v1/shares", {"job": job["id"]}), 404)
    missing = problem(bob.post("/v1/shares", {"job": NOWHERE}), 404)
    assert theirs["detail"].replace(job["id"], NOWHERE) == missing["detail"]
    assert ann.items("/v1/shares") == []


def test_a_link_opens_one_thing_and_changes_nothing(
    harness: ApiHarness, ann: Person, bob: Person
) -> None:
    job, _ = training(harness, ann)
    made = share(ann, job=job["id"])
    bearer = {"Authorization": f"Bearer {made['token']}"}
    stranger = harness.app.test_client()
    problem(stranger.get("/v1/jobs", headers=bearer), 401)
    problem(stranger.post(f"/v1/shared/{made['token']}", json={}), 405)
    problem(stranger.post(f"/v1/shared/{made['token']}/cancel", json={}), 404)
    problem(bob.delete(f"/v1/shares/{made['id']}"), 404)
    assert bob.items("/v1/shares") == []
    assert see(harness, made["token"]).status_code == 200


def test_a_stream_of_a_link_ends_with_it(
    harness: ApiHarness, ann: Person, settings: Settings
) -> None:
    job, claim = training(harness, ann)
    made = share(ann, job=job["id"])
    publisher = EventPublisher(settings.broker)
    response = harness.app.test_client().get(f"/v1/shared/{made['token']}/events")
    assert response.status_code == 200
    events = parse(response.iter_encoded())
    first = next(events)
    assert (first.kind, first.data["status"], first.data["model"]) == ("state", "running", None)
    ann.delete(f"/v1/shares/{made['id']}")
    publisher.publish(claim.job_id, claim.attempt, "state")
    assert publisher.flush()
    last = next(event for event in events if event.kind == "closed")
    assert "revoked or has expired" in last.data["reason"]
    assert list(events) == []
    response.close()


def test_the_streams_of_a_link_use_its_owners_seats(
    harness: ApiHarness, ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, _ = training(harness, ann)
    token = share(ann, job=job["id"])["token"]
    taken: list[str] = []
    seats = harness.app.extensions[EXTENSION].event_stream_seats
    take = seats.take
    monkeypatch.setattr(seats, "take", lambda user: taken.append(user) or take(user))
    response = see(harness, token, "/events")
    next(iter(response.iter_encoded()))
    response.close()
    assert taken == [ann.get("/v1/me").json["id"]]


def test_a_replay_shows_no_link(harness: ApiHarness, ann: Person) -> None:
    job, _ = training(harness, ann)
    again = {"headers": {"Idempotency-Key": "k"}}
    first = ann.post("/v1/shares", {"job": job["id"]}, **again).json
    second = ann.post("/v1/shares", {"job": job["id"]}, **again).json
    assert second == first | {"url": None, "token": None}
    assert len(ann.items("/v1/shares")) == 1


def test_no_log_line_holds_a_token(
    harness: ApiHarness, ann: Person, capsys: pytest.CaptureFixture[str]
) -> None:
    job, _ = training(harness, ann)
    token = share(ann, job=job["id"])["token"]
    for rest in ("", "/metrics", "/nothing", "/texts?points=3", "/"):
        see(harness, token, rest)
    see(harness, f"/{token}")
    told = capsys.readouterr()
    assert "/v1/shared/<token>" in told.out + told.err
    assert token not in told.out + told.err
