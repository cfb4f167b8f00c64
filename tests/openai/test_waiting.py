"""Requests that don't stream: they wait on a seat, and take their texts with them."""

from typing import Any

import pytest

from api.services import EXTENSION
from tests.api.harness import ApiHarness, Person
from tests.openai.calls import ROOT, chat, completions, error, in_background, queued, user_id


@pytest.mark.parametrize("call", [completions, chat])
def test_a_failed_text_is_an_error(harness: ApiHarness, ann: Person, model: Any, call: Any) -> None:
    with in_background(call, ann, model="orwell", n=1) as future:
        [job] = queued(ann)
        problem = {"type": "/problems/x", "title": "x", "detail": "the checkpoint is damaged"}
        harness.queue.fail(harness.claim(job["id"], "generate"), problem)
    answer = future.result()
    found = error(answer, 502)
    assert (found["type"], found["code"]) == ("server_error", "text_failed")
    assert "the checkpoint is damaged" in found["message"]
    assert answer.headers["x-should-retry"] == "false"


def test_a_text_that_takes_too_long_is_cancelled(
    harness: ApiHarness, ann: Person, model: Any
) -> None:
    answer = completions(ann, model="orwell")
    assert "Stream it" in error(answer, 504)["message"]
    assert answer.headers["x-should-retry"] == "false"
    [job] = ann.items("/v1/jobs?kind=generate")
    assert job["status"] == "cancelled"


def test_with_an_idempotency_key_it_goes_on(harness: ApiHarness, ann: Person, model: Any) -> None:
    def ask(person: Person) -> Any:
        body = {"model": "orwell", "prompt": "It was"}
        return person.post(f"{ROOT}/completions", body, headers={"Idempotency-Key": "once"})

    first = ask(ann)
    assert "with its Idempotency-Key" in error(first, 504)["message"]
    [job] = ann.items("/v1/jobs?kind=generate")
    assert job["status"] == "queued"
    harness.write(job, ["at last"])
    assert ask(ann).json["choices"][0]["text"] == "at last"
    assert len(ann.items("/v1/jobs?kind=generate")) == 1
    other = {"model": "orwell", "prompt": "the clocks"}
    reused = ann.post(f"{ROOT}/completions", other, headers={"Idempotency-Key": "once"})
    assert error(reused, 409)["code"] == "idempotency_key_reused"
    assert reused.headers["x-should-retry"] == "false"


def test_without_a_seat_nothing_is_submitted(harness: ApiHarness, ann: Person, model: Any) -> None:
    seats = harness.app.extensions[EXTENSION].wait_seats
    taken = [seats.take(user_id(harness, ann)) for _ in range(seats.count)]
    answer = completions(ann, model="orwell")
    assert error(answer, 503)["code"] == "too_many_waits"
    assert answer.headers["Retry-After"] == "5"
    assert "x-should-retry" not in answer.headers
    for seat in taken:
        seats.leave(seat)
    assert ann.items("/v1/jobs?kind=generate") == []


def test_a_stopping_server_cancels_what_it_can_not_deliver(
    harness: ApiHarness, ann: Person, model: Any
) -> None:
    with in_background(completions, ann, model="orwell") as future:
        [job] = queued(ann)
        harness.app.extensions[EXTENSION].stopping.set()
        assert future.result(10).status_code >= 500
    assert ann.get(f"/v1/jobs/{job['id']}").json["status"] == "cancelled"


def test_a_key_that_is_revoked_gets_no_text(
    harness: ApiHarness, ann: Person, admin: Person, model: Any
) -> None:
    with in_background(completions, ann, model="orwell") as future:
        [job] = queued(ann)
        assert admin.patch("/v1/users/ann", {"disabled": True}).status_code == 200
        assert error(future.result(10), 401)["code"] == "invalid_api_key"
    assert harness.queue.claim("generate", "host/cpu/generate") == []
    assert job["status"] == "queued"
