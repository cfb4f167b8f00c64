"""Generations of concurrent requests in one transaction: each succeeds or fails as if alone."""

import re
import threading
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from shared.database import make_sessions
from shared.ids import new_id
from shared.tables import IdempotencyKey, Job, JobEvent, Model, User
from tests.api.groups import Groups, Send, generations, rows, sender, statuses
from tests.api.harness import ENGLISH, ApiHarness, Person, problem
from tests.services.statements import noted_statements


@pytest.fixture
def groups(monkeypatch: pytest.MonkeyPatch) -> Groups:
    return Groups(monkeypatch)


def test_concurrent_requests_share_a_transaction(
    harness: ApiHarness, ann: Person, bob: Person, groups: Groups
) -> None:
    model = harness.model(ann)["id"]
    ann.patch(f"/v1/models/{model}", {"visibility": "server"})
    people = [ann, bob] * 4
    body = {"model": model, "prompt": "It ", "length": 5}
    senders = [sender(harness, person, body | {"seed": n}) for n, person in enumerate(people)]

    with noted_statements(harness.engine) as statements:
        answers = groups.together(harness, senders[0], senders[1:])
    inserts = [each for each in statements if each.startswith("INSERT INTO jobs ")]
    assert statuses(answers) == [202] * 8
    assert groups.sizes == [1, 7]
    assert groups.declined == [0, 0]
    assert len(inserts) == 2
    # Each has the job that it asked for, and nobody another one's.
    for person, seed, answer in zip(people, range(8), answers, strict=True):
        job: Any = person.get(f"/v1/jobs/{answer.json['id']}").json
        assert (job["spec"]["seed"], job["owner"], job["status"]) == (seed, person.name, "queued")
        assert {**job, "queue": None} == {**answer.json, "queue": None}
        assert answer.headers["Location"] == f"/v1/jobs/{job['id']}"
    assert rows(harness, JobEvent, JobEvent.type == "submitted") == 8 + 1


def test_a_model_is_looked_up_once_however_many_of_its_checkpoints_are_asked_for(
    harness: ApiHarness, ann: Person, groups: Groups
) -> None:
    model = harness.model(ann)["id"]
    checkpoint = ann.get(f"/v1/models/{model}").json["checkpoints"]["best"]
    body = {"model": model, "prompt": "It ", "length": 5}
    asked = ["latest", "best", checkpoint, str(uuid.uuid4()), "latest", checkpoint]
    senders = [sender(harness, ann, body | {"checkpoint": each}) for each in asked]

    with noted_statements(harness.engine) as statements:
        answers = groups.together(harness, senders[0], senders[1:])
    looked_up = [each for each in statements if "models.vocabulary" in each]
    assert statuses(answers) == [202, 202, 202, 404, 202, 202]
    # Once in each of the two groups, and again for the one that is refused by itself.
    assert len(looked_up) == 3
    for each, answer in zip(asked, answers, strict=True):
        if answer.status_code == 202:
            assert answer.json["spec"]["checkpoint"] == each


def test_the_corpus_is_shown_to_those_who_may_see_it(
    harness: ApiHarness, ann: Person, bob: Person, groups: Groups
) -> None:
    model = harness.model(ann)
    ann.patch(f"/v1/models/{model['id']}", {"visibility": "server"})
    body = {"model": model["id"], "prompt": "It ", "length": 5}
    of_ann, of_bob = sender(harness, ann, body), sender(harness, bob, body)
    answers = groups.together(harness, of_ann, [of_bob, of_ann])
    assert [answer.json["corpus"] for answer in answers] == [model["corpus"], None, model["corpus"]]


def without_the_time(text: str) -> str:
    return re.sub(r"it is [0-9T:-]+Z", "it is now", text)


def test_requests_that_are_refused_fail_alone(
    harness: ApiHarness, ann: Person, bob: Person, groups: Groups
) -> None:
    model = harness.model(ann)["id"]
    shared = harness.model(ann)["id"]
    ann.patch(f"/v1/models/{shared}", {"visibility": "server"})
    good = {"model": model, "prompt": "It ", "length": 5}
    none = "00000000-0000-4000-8000-000000000000"
    past = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    bodies = {
        "no such model": (ann, good | {"model": none}, 404),
        "another's private model": (bob, good, 404),
        "no such checkpoint": (ann, good | {"checkpoint": none}, 404),
        "an unknown character": (ann, good | {"prompt": "\u4e00"}, 422),
        "no piece of a private corpus": (bob, {"model": shared, "length": 5}, 422),
        "a time in the past": (ann, good | {"start_before": past}, 422),
        "no such job to wait for": (ann, good | {"after": none}, 404),
    }
    senders = [sender(harness, person, body) for person, body, _ in bodies.values()]
    plain = sender(harness, ann, good)
    answers = groups.together(harness, plain, [plain, *senders, plain])
    assert groups.sizes == [1, len(bodies) + 2]
    assert groups.declined == [0, len(bodies)]
    assert [answers[n].status_code for n in (0, 1, -1)] == [202] * 3
    for answer, (name, (person, body, status)) in zip(answers[2:-1], bodies.items(), strict=True):
        assert answer.status_code == status, name
        # Word for word as for a request that comes alone, but for the second in which it came.
        alone = person.post("/v1/generate", body)
        assert without_the_time(answer.text) == without_the_time(alone.text), name
    assert generations(harness) == 3


def test_items_join_and_what_only_they_have_is_refused_alone(
    harness: ApiHarness, ann: Person, bob: Person, groups: Groups
) -> None:
    text = harness.model(ann)["id"]
    names = harness.model(ann, ann.upload("Ann\nBob\nCy\n", items="lines"))["id"]
    ann.patch(f"/v1/models/{names}", {"visibility": "server"})
    # Bob may not see the corpus, and begins with none of its pieces.
    items: list[tuple[Person, dict[str, Any]]] = [
        (bob, {"model": names}),
        (bob, {"model": names, "prompt": ""}),
        (ann, {"model": names, "n": 10_000}),
    ]
    wrong: list[dict[str, Any]] = [
        {"model": text, "prompt": ""},
        {"model": text, "prompt": "It ", "n": 65},
        {"model": text, "n": 64, "temperature": [number / 10 for number in range(1, 11)]}
        | {"logprobs": True},
        {"model": names, "prompt_from": "corpus"},
    ]
    plain = sender(harness, ann, {"model": text, "prompt": "It ", "length": 5})
    senders = [sender(harness, person, body) for person, body in items]
    senders += [sender(harness, ann, body) for body in wrong]
    answers = groups.together(harness, plain, senders)
    assert groups.sizes == [1, len(senders)]
    assert groups.declined == [0, len(wrong)]
    assert statuses(answers[1:4]) == [202] * 3
    specs = [answer.json["spec"] for answer in answers[1:4]]
    assert [(spec["prompt"], spec["length"]) for spec in specs] == [("", 400)] * 2 + [("", 100)]
    for answer, body in zip(answers[4:], wrong, strict=True):
        alone = problem(ann.post("/v1/generate", body), 422)
        assert problem(answer, 422)["errors"] == alone["errors"]
    fields = [answer.json["errors"][0]["field"] for answer in answers[4:]]
    assert fields == ["prompt", "n", "logprobs", "prompt_from"]
    assert generations(harness) == 4


def test_a_cap_stops_those_beyond_it(
    harness: ApiHarness, ann: Person, bob: Person, groups: Groups
) -> None:
    model = harness.model(ann)["id"]
    ann.patch(f"/v1/models/{model}", {"visibility": "server"})
    body = {"model": model, "prompt": "It ", "length": 5}
    with make_sessions(harness.engine).begin() as session:
        session.execute(update(User).where(User.name == "ann").values(max_queued=3))
    of_ann, of_bob = sender(harness, ann, body), sender(harness, bob, body)
    answers = groups.together(harness, of_bob, [of_ann] * 6 + [of_bob] * 3)
    assert sorted(statuses(answers[1:7])) == [202] * 3 + [429] * 3
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert problem(refused, 429)["type"] == "/problems/queue-full"
    assert statuses([answers[0], *answers[7:]]) == [202] * 4
    assert rows(harness, Job, Job.kind == "generate", Job.status == "queued") == 7


def test_the_cap_on_device_time_stops_all_of_a_user(
    harness: ApiHarness, ann: Person, groups: Groups
) -> None:
    model = harness.model(ann)["id"]
    body = {"model": model, "prompt": "It ", "length": 5}
    with make_sessions(harness.engine).begin() as session:
        session.execute(update(User).values(max_device_seconds_per_day=0.0))
    of_ann = sender(harness, ann, body)
    answers = groups.together(harness, of_ann, [of_ann] * 3)
    assert {problem(answer, 429)["type"] for answer in answers} == {"/problems/day-used-up"}
    assert generations(harness) == 0


def test_keys_in_one_group_create_once(
    harness: ApiHarness, ann: Person, bob: Person, groups: Groups
) -> None:
    model = harness.model(ann)["id"]
    ann.patch(f"/v1/models/{model}", {"visibility": "server"})
    body = {"model": model, "prompt": "It ", "length": 5, "seed": 1}
    key = {"Idempotency-Key": "k"}
    same, other = sender(harness, ann, body, **key), sender(harness, ann, body | {"n": 2}, **key)
    of_bob = sender(harness, bob, body, **key)
    plain = sender(harness, ann, body)
    answers = groups.together(harness, plain, [same, same, other, of_bob, same])
    assert groups.sizes == [1, 5]
    created = [a for a in answers if a.status_code == 202 and a.json["owner"] == "ann"]
    refused = [answer for answer in answers if answer.status_code == 409]
    # Whichever of the two bodies came first has the key.
    assert len(created) in (2, 4)
    assert len(created) + len(refused) == 5
    assert len({answer.json["id"] for answer in created[1:]}) == 1
    replayed = [answer for answer in created[1:] if "Idempotency-Replayed" in answer.headers]
    assert len(replayed) == len(created) - 2
    assert answers[4].json["owner"] == "bob"
    assert generations(harness) == 3
    assert rows(harness, IdempotencyKey) == 2
    again = same() if len(created) == 4 else other()
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.json == created[1].json


def test_a_key_answers_with_the_same_place_in_the_queue(harness: ApiHarness, ann: Person) -> None:
    body = {"model": harness.model(ann)["id"], "prompt": "It ", "length": 5}
    send = sender(harness, ann, body, **{"Idempotency-Key": "k"})
    first, second = send(), send()
    assert first.json["queue"]["position"] == 1
    assert second.json == first.json


def test_a_key_that_has_expired_creates_again(
    harness: ApiHarness, ann: Person, groups: Groups
) -> None:
    body = {"model": harness.model(ann)["id"], "prompt": "It ", "length": 5}
    send = sender(harness, ann, body, **{"Idempotency-Key": "k"})
    first = send()
    with make_sessions(harness.engine).begin() as session:
        old = datetime.now(UTC) - timedelta(hours=25)
        session.execute(update(IdempotencyKey).values(created_at=old))
    [_, second] = groups.together(harness, sender(harness, ann, body), [send])
    assert second.status_code == 202
    assert second.json["id"] != first.json["id"]
    assert send().json == second.json


def test_after_and_start_before_join_a_group(
    harness: ApiHarness, ann: Person, bob: Person, groups: Groups
) -> None:
    model = harness.model(ann)["id"]
    waiting = ann.train(ann.upload(ENGLISH))["id"]
    body = {"model": model, "prompt": "It ", "length": 5}
    soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    plain = sender(harness, ann, body)
    done, failed = plain().json, plain().json
    harness.write(done)
    ann.post(f"/v1/jobs/{failed['id']}/cancel")
    senders = [
        sender(harness, ann, body | {"after": waiting, "priority": "high"}),
        sender(harness, ann, body | {"after": done["id"], "start_before": soon}),
        sender(harness, ann, body | {"after": failed["id"]}),
        sender(harness, ann, body | {"after": waiting, "deadline_seconds": 9.5}),
    ]
    answers = groups.together(harness, plain, senders)[1:]
    assert groups.declined[-1] == 1
    assert statuses(answers) == [202, 202, 409, 202]
    jobs: list[Any] = [ann.get(f"/v1/jobs/{a.json.get('id')}").json for a in answers]
    blocked, free, _, late = jobs
    assert (blocked["after"], blocked["priority"]) == (waiting, "high")
    assert f"after job {waiting}" in blocked["queue"]["reason"]
    assert free["queue"]["position"] is not None
    assert free["start_before"] is not None
    assert late["deadline_seconds"] == 9.5
    with make_sessions(harness.engine)() as session:
        blockers = dict(session.execute(select(Job.id, Job.blocked_by)).all())
    assert blockers[blocked["id"]] == waiting
    assert blockers[free["id"]] is None


def test_a_violated_constraint_fails_alone(
    harness: ApiHarness, ann: Person, groups: Groups, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = harness.model(ann)["id"]
    body = {"model": model, "prompt": "It ", "length": 5}
    taken = sender(harness, ann, body)().json["id"]
    plain = sender(harness, ann, body)
    made = iter([None, None, taken])
    lock = threading.Lock()

    def next_id() -> str:
        with lock:
            return next(made, None) or new_id()

    monkeypatch.setattr("api.routes.generate.new_id", next_id)
    answers = groups.together(harness, plain, [plain] * 4)
    # One of them has the id of a job that exists. All go alone then, and only this one fails.
    assert groups.declined == [0, 0, 4]
    assert sorted(statuses(answers)) == [202] * 4 + [409]
    assert generations(harness) == 5


def test_a_model_that_is_deleted_meanwhile_fails_its_request_alone(
    harness: ApiHarness, ann: Person, groups: Groups
) -> None:
    kept, lost = harness.model(ann)["id"], harness.model(ann)["id"]
    body = {"prompt": "It ", "length": 5}

    def lose_and_send() -> Any:
        assert ann.delete(f"/v1/models/{lost}").status_code == 204
        return sender(harness, ann, body | {"model": lost})()

    of_kept = sender(harness, ann, body | {"model": kept})
    answers = groups.together(harness, of_kept, [of_kept, lose_and_send, of_kept])
    assert statuses(answers) == [202, 202, 404, 202]
    assert generations(harness) == 3


def test_scores_join_too(harness: ApiHarness, ann: Person, groups: Groups) -> None:
    model = harness.model(ann)["id"]
    client = Person(harness.app.test_client(), ann.name, ann.key)
    score: Send = lambda: client.post("/v1/score", {"model": model, "text": "It was"})  # noqa: E731
    plain = sender(harness, ann, {"model": model, "prompt": "It ", "length": 5})
    answers = groups.together(harness, plain, [score, plain])
    assert statuses(answers) == [202] * 3
    assert groups.declined == [0, 0]
    assert answers[1].json["spec"]["score"] is True
    assert rows(harness, Model) == 1
