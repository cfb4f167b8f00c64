"""Who is told of what, signed with which secret, and how many may be."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, update
from standardwebhooks import Webhook

from shared.database import make_sessions
from shared.ids import new_id
from shared.tables import Delivery
from tests.api.harness import ApiHarness, Person, problem
from tests.api.notifications.conftest import Later, courier
from tests.services.webhooks import Receiver


def test_the_end_of_a_training_is_told_and_signed(
    harness: ApiHarness, ann: Person, receiver: Receiver, later: Later
) -> None:
    secret = ann.post("/v1/webhooks/secret").json["secret"]
    hook = {"url": receiver.url, "checkpoints": True}
    job = ann.train(ann.upload(), notify=[hook], name="letters")
    claim = harness.claim(job["id"])
    checkpoint = harness.checkpoint(claim, 10)
    harness.queue.succeed(claim)
    sender = courier(harness, later)
    while sender.send_due():
        pass
    assert [each.path for each in receiver.received] == ["/hook?from=quire"] * 2
    page = (Path(__file__).parents[3] / "docs" / "webhooks.md").read_text()
    receives: dict[str, Any] = {}
    exec(page.split("```python\n")[1].split("```")[0], receives)  # noqa: S102
    told = [receives["take"](secret, each.body, each.headers) for each in receiver.received]
    assert [each["type"] for each in told] == ["checkpoint.recorded", "job.succeeded"]
    assert told[0]["data"]["checkpoint"]["id"] == checkpoint
    about = told[1]["data"]["job"]
    assert (about["id"], about["name"], about["status"]) == (job["id"], "letters", "succeeded")
    assert about["model"] == job["model"]
    assert receiver.received[0].headers["user-agent"].startswith("Quire/")
    deliveries = ann.items(f"/v1/jobs/{job['id']}/deliveries")
    assert [each["event"] for each in deliveries] == ["job.succeeded", "checkpoint.recorded"]
    for each in deliveries:
        assert (each["status"], each["next_try_at"]) == ("delivered", None)
        assert [(one["status_code"], one["error"]) for one in each["tries"]] == [(204, None)]
        assert ann.get(f"/v1/deliveries/{each['id']}").json == each
    assert deliveries[0]["message_id"] == receiver.received[1].headers["webhook-id"]
    assert sender.send_due() == 0


def test_all_trainings_are_told_and_no_generation(
    harness: ApiHarness, ann: Person, bob: Person, receiver: Receiver, later: Later
) -> None:
    made = ann.post("/v1/notifications", {"url": receiver.url})
    assert made.status_code == 201
    assert ann.items("/v1/notifications") == [made.json]
    model = harness.model(ann)
    harness.model(bob)
    text = ann.post("/v1/generate", {"model": model["id"], "prompt": "It "}).json
    mine = ann.post("/v1/generate", {"model": model["id"], "prompt": "It "}).json
    # The same address twice is told once.
    for _ in range(2):
        hook = {"url": receiver.url, "job": mine["id"]}
        assert ann.post("/v1/notifications", hook).status_code == 201
    harness.write(text)
    harness.write(mine)
    sender = courier(harness, later)
    while sender.send_due():
        pass
    told = [json.loads(each.body)["data"]["job"]["id"] for each in receiver.received]
    assert told == [model["job"], mine["id"]]
    assert ann.delete(f"/v1/notifications/{made.json['id']}").status_code == 204
    harness.model(ann)
    assert sender.send_due() == 0


def test_a_text_tells_of_its_end(
    harness: ApiHarness, ann: Person, receiver: Receiver, later: Later
) -> None:
    model = harness.model(ann)
    body = {"model": model["id"], "prompt": "It ", "notify": [{"url": receiver.url}]}
    key = {"headers": {"Idempotency-Key": "once"}}
    job = ann.post("/v1/generate", body, **key).json
    assert ann.post("/v1/generate", body, **key).json["id"] == job["id"]
    wrong = problem(ann.post("/v1/generate", body | {"notify": [{"url": "x"}]}), 422)
    assert wrong["errors"][0]["field"] == "url"
    harness.write(job)
    sender = courier(harness, later)
    assert sender.send_due() == 1
    assert sender.send_due() == 0
    told = json.loads(receiver.received[0].body)["data"]["job"]
    assert (told["id"], told["kind"], told["status"]) == (job["id"], "generate", "succeeded")


@pytest.mark.parametrize("way", ["cancelled", "failed", "cancelled while it waits"])
def test_every_end_is_told(
    harness: ApiHarness, ann: Person, receiver: Receiver, later: Later, way: str
) -> None:
    job = ann.train(ann.upload(), notify=[{"url": receiver.url}])
    after = ann.train(ann.upload(), after=job["id"], notify=[{"url": receiver.url}])
    if way == "failed":
        error = {"type": "/problems/x", "title": "x", "detail": "It could not go on."}
        harness.queue.fail(harness.claim(job["id"]), error)
    elif way == "cancelled":
        claim = harness.claim(job["id"])
        ann.post(f"/v1/jobs/{job['id']}/cancel")
        harness.queue.cancel_claimed(claim)
    else:
        ann.post(f"/v1/jobs/{job['id']}/cancel")
    sender = courier(harness, later)
    while sender.send_due():
        pass
    told = [json.loads(each.body) for each in receiver.received]
    ends = {each["data"]["job"]["id"]: each for each in told}
    assert ends[job["id"]]["type"] == f"job.{way.split()[0]}"
    assert ends[after["id"]]["type"] == "job.failed", "a job that waited for it"
    if way == "failed":
        assert ends[job["id"]]["data"]["job"]["error"]["detail"] == "It could not go on."


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"url": "https://10.0.0.1/"}, "url", "QUIRE_WEBHOOK_ALLOW"),
    ({"url": "https://169.254.169.254/latest"}, "url", "private"),
    ({"url": "https://0x0a000001/"}, "url", "private"),
    ({"url": "ftp://example.org/"}, "url", "https://"),
    ({"url": "https://ann:word@example.org/"}, "url", "password"),
    ({}, "url", "one of the two"),
    ({"url": "https://example.org", "mail": "ann@lab.example"}, "url", "one of the two"),
    ({"mail": "ann@elsewhere.example"}, "mail", "lab.example only"),
    ({"mail": "ann@lab.example\nBcc: all@lab.example"}, "mail", "one address"),
    ({"mail": "ann, bob@lab.example"}, "mail", "one address"),
    ({"mail": "ann@localhost"}, "mail", "one address"),
    ({"url": "https://example.org", "surprise": 1}, "surprise", ""),
]


def test_what_can_not_be_told_is_refused(harness: ApiHarness, ann: Person) -> None:
    corpus = ann.upload()
    for body, field, reason in REFUSED:
        for path in ("/v1/notifications", "/v1/notifications/test"):
            error = problem(ann.post(path, body), 422)["errors"][0]
            assert error["field"] == field
            assert reason in error["message"]
        assert problem(ann.post("/v1/train", {"corpus": corpus, "notify": [body]}), 422)
    assert ann.items("/v1/jobs") == [], "a training that can't tell is not queued"


def test_jobs_that_have_ended_and_too_many_are_refused(harness: ApiHarness, ann: Person) -> None:
    url = {"url": "https://hooks.example/"}
    model = harness.model(ann)
    assert (
        "has ended"
        in problem(ann.post("/v1/notifications", {**url, "job": model["job"]}), 409)["detail"]
    )
    job = ann.train(ann.upload())
    for _ in range(5):
        assert ann.post("/v1/notifications", {**url, "job": job["id"]}).status_code == 201
    refused = problem(ann.post("/v1/notifications", {**url, "job": job["id"]}), 422)
    assert "may have 5" in refused["errors"][0]["message"]
    assert len(ann.items(f"/v1/notifications?job={job['id']}")) == 5
    for _ in range(10):
        assert ann.post("/v1/notifications", url).status_code == 201
    assert "may have 10" in problem(ann.post("/v1/notifications", url), 422)["detail"]


def test_no_race_passes_a_cap(harness: ApiHarness, ann: Person) -> None:
    def add(number: int) -> int:
        person = Person(harness.app.test_client(), "ann", ann.key)
        hook = {"url": f"https://hooks.example/{number}"}
        return person.post("/v1/notifications", hook).status_code

    with ThreadPoolExecutor(6) as threads:
        statuses = list(threads.map(add, range(16)))
    assert sorted(statuses) == [201] * 10 + [422] * 6


def test_a_secret_is_shown_once_and_the_one_before_signs_for_a_day(
    harness: ApiHarness, ann: Person, admin: Person, receiver: Receiver, later: Later
) -> None:
    key = {"headers": {"Idempotency-Key": "one"}}
    first = ann.post("/v1/webhooks/secret", **key).json["secret"]
    assert ann.post("/v1/webhooks/secret", **key).json["secret"] is None
    second = ann.post("/v1/webhooks/secret").json["secret"]
    assert first != second
    listed = ann.get("/v1/webhooks/secret")
    assert first not in listed.text and second not in listed.text  # noqa: PT018
    assert [each["expires_at"] is None for each in listed.json["items"]] == [True, False]
    assert "webhook.secret_rotated" in {each["action"] for each in admin.items("/v1/audit")}
    ann.post("/v1/notifications/test", {"url": receiver.url})
    courier(harness, later).send_due()
    later.by += timedelta(hours=25)
    ann.post("/v1/notifications/test", {"url": receiver.url})
    courier(harness, later).send_due()
    signed = [each.headers["webhook-signature"].split() for each in receiver.received]
    assert [len(each) for each in signed] == [2, 1]
    for secret in (first, second):
        Webhook(secret).verify(receiver.received[0].body, receiver.received[0].headers)


def test_the_signature_is_that_of_the_scheme() -> None:
    """The example of the scheme's own documentation."""
    from shared.notifications.signing import signatures

    body = b'{"test": 2432232314}'
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    signed = signatures([secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_tests_are_bounded_and_forgotten(harness: ApiHarness, ann: Person, later: Later) -> None:
    first = ann.post("/v1/notifications/test", {"url": "https://hooks.example/"}).json["id"]
    with make_sessions(harness.engine).begin() as session:
        row = session.get_one(Delivery, first)
        copied = {column.key: getattr(row, column.key) for column in Delivery.__table__.columns}
        session.add_all(Delivery(**copied | {"id": new_id()}) for _ in range(29))
    full = ann.post("/v1/notifications/test", {"url": "https://hooks.example/"})
    assert "30 test messages in an hour" in problem(full, 429)["detail"]
    assert 3500 < int(full.headers["Retry-After"]) <= 3600
    _end_all(harness.engine)
    later.by += timedelta(days=31)
    courier(harness, later)._sweep()
    problem(ann.get(f"/v1/deliveries/{first}"), 404)


def test_a_key_that_may_submit_tells_of_jobs_and_not_of_all(
    harness: ApiHarness, ann: Person
) -> None:
    from tests.api.people.test_key_scopes import with_scopes

    job = ann.train(ann.upload())
    narrow = with_scopes(harness, "ann", "submit")
    url = {"url": "https://hooks.example/"}
    assert narrow.post("/v1/notifications", {**url, "job": job["id"]}).status_code == 201
    assert problem(narrow.post("/v1/notifications", url), 403)["type"] == "/problems/missing-scope"
    problem(narrow.post("/v1/webhooks/secret"), 403)


def _end_all(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(update(Delivery).values(status="failed", next_try_at=None))
