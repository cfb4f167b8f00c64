"""Streams: the form that stock clients read, errors in the middle, and clients that hang up."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from api.services import EXTENSION
from shared.event_publisher import EventPublisher
from tests.api.harness import ApiHarness, Person, record
from tests.openai.calls import (
    ROOT,
    chat,
    completions,
    error,
    events,
    in_background,
    queued,
    user_id,
)
from tests.openai.streams import TEXT, parts, write


@pytest.fixture(autouse=True)
def _short_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.operations.following.event_stream.BLOCK_SECONDS", 0.3)


def test_a_stream_of_a_completion(
    harness: ApiHarness, ann: Person, model: Any, publisher: EventPublisher
) -> None:
    body = {"model": "orwell", "prompt": "It ", "stream": True}
    with in_background(completions, ann, **body) as future:
        [job] = queued(ann)
        write(harness, publisher, job, [(0, 0, TEXT[:7]), (0, 7, TEXT[7:12])])
    answer = future.result()
    assert answer.status_code == 200
    assert answer.content_type == "text/event-stream"
    assert answer.headers["X-Accel-Buffering"] == "no"
    *chunks, done = events(answer.text)
    assert done == "data: [DONE]"
    same = {name: chunks[0][name] for name in ("id", "object", "created", "model")}
    assert same["id"] == f"cmpl-{job['id']}"
    assert (same["object"], same["model"]) == ("text_completion", "orwell")
    assert all({name: chunk[name] for name in same} == same for chunk in chunks)
    assert {chunk["system_fingerprint"][:3] for chunk in chunks} == {"fp_"}
    assert {"usage" in chunk for chunk in chunks} == {False}
    assert [chunk["choices"][0] for chunk in chunks] == [
        {"index": 0, "text": text, "logprobs": None, "finish_reason": reason}
        for text, reason in (
            (TEXT[:7], None),
            (TEXT[7:12], None),
            (TEXT[12:], None),
            ("", "length"),
        )
    ]


def test_a_stream_of_a_chat_completion(
    harness: ApiHarness, ann: Person, model: Any, publisher: EventPublisher
) -> None:
    with in_background(chat, ann, model="orwell", stream=True) as future:
        [job] = queued(ann)
        write(harness, publisher, job, [(0, 0, TEXT[:7])])
    *chunks, done = events(future.result().text)
    assert done == "data: [DONE]"
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    choices = [chunk["choices"][0] for chunk in chunks]
    # Clients join the parts of a message, its role included.
    assert [choice["delta"] for choice in choices] == [
        {"role": "assistant", "content": TEXT[:7]},
        {"content": TEXT[7:]},
        {},
    ]
    assert [choice["finish_reason"] for choice in choices] == [None, None, "length"]


@pytest.mark.parametrize("call", [completions, chat])
def test_the_usage_comes_last_if_asked_for(
    harness: ApiHarness, ann: Person, model: Any, publisher: EventPublisher, call: Any
) -> None:
    options = {"include_usage": True, "include_obfuscation": False}
    body = {"model": "orwell", "stream": True, "stream_options": options}
    with in_background(call, ann, **body) as future:
        [job] = queued(ann)
        write(harness, publisher, job)
    *chunks, last, done = events(future.result().text)
    assert done == "data: [DONE]"
    assert last["choices"] == []
    assert last["usage"] == {"prompt_tokens": 3, "completion_tokens": 20, "total_tokens": 23}
    assert last["system_fingerprint"] == chunks[0]["system_fingerprint"]
    assert {"usage" in chunk for chunk in chunks} == {False}


def test_several_texts_of_several_prompts_keep_their_indices(
    harness: ApiHarness, ann: Person, model: Any, publisher: EventPublisher
) -> None:
    body = {"model": "orwell", "prompt": ["It was", "the day"], "n": 2, "stream": True}
    with in_background(completions, ann, **body) as future:
        for job in queued(ann, 2):
            write(harness, publisher, job, [(1, 0, TEXT[:4]), (0, 0, TEXT[:9]), (1, 4, TEXT[4:])])
    for index in range(4):
        assert "".join(parts(future.result().text, index)) == TEXT
    # The second job may have ended before anybody reads it; then its texts come as a whole.
    assert parts(future.result().text, 1) == [TEXT[:4], TEXT[4:]]


def test_a_piece_that_was_lost_comes_with_the_end(
    harness: ApiHarness, ann: Person, model: Any, publisher: EventPublisher
) -> None:
    with in_background(completions, ann, model="orwell", stream=True) as future:
        [job] = queued(ann)
        write(harness, publisher, job, [(0, 0, TEXT[:4]), (0, 9, TEXT[9:])])
    assert parts(future.result().text) == [TEXT[:4], TEXT[4:]]


def test_echo_begins_with_the_prompt(
    harness: ApiHarness, ann: Person, model: Any, publisher: EventPublisher
) -> None:
    for pieces in ([(0, 0, TEXT[:4])], []):
        body = {"model": "orwell", "prompt": "It ", "stream": True, "echo": True}
        with in_background(completions, ann, **body) as future:
            [job] = queued(ann)
            write(harness, publisher, job, pieces, echo=True)
        assert "".join(parts(future.result().text)) == "It " + TEXT


def test_log_probabilities_come_with_the_whole_text(
    harness: ApiHarness, ann: Person, model: Any, publisher: EventPublisher
) -> None:
    with in_background(completions, ann, model="orwell", stream=True, logprobs=0) as future:
        [job] = queued(ann)
        write(harness, publisher, job, [(0, 0, TEXT[:4])], logprobs=[-1.0] * len(TEXT))
    assert parts(future.result().text) == [TEXT]
    last = events(future.result().text)[-2]["choices"][0]
    assert "".join(last["logprobs"]["tokens"]) == TEXT


def test_a_text_without_a_token_has_a_message_all_the_same(
    harness: ApiHarness, ann: Person, model: Any
) -> None:
    with in_background(chat, ann, model="orwell", stream=True) as future:
        [job] = queued(ann)
        harness.queue.succeed(harness.claim(job["id"], "generate"), [record(0, "", None)])
    deltas = [event["choices"][0]["delta"] for event in events(future.result().text)[:-1]]
    assert deltas == [{"role": "assistant", "content": ""}, {}]


def test_a_failure_in_the_middle_is_an_event(
    harness: ApiHarness, ann: Person, model: Any, publisher: EventPublisher
) -> None:
    with in_background(completions, ann, model="orwell", stream=True) as future:
        [job] = queued(ann)
        claim = harness.claim(job["id"], "generate")
        publisher.publish(claim.job_id, 1, "piece", position=0, offset=0, text="and")
        assert publisher.flush()
        problem = {"type": "/problems/x", "title": "x", "detail": "the checkpoint is damaged"}
        harness.queue.fail(claim, problem)
        publisher.publish(claim.job_id, 1, "state")
    first, last = events(future.result().text)
    assert first["choices"][0]["text"] == "and"
    assert list(last) == ["error"]
    assert last["error"]["type"] == "server_error"
    assert "the checkpoint is damaged" in last["error"]["message"]


def test_a_text_that_somebody_cancels_is_an_error(
    harness: ApiHarness, ann: Person, model: Any
) -> None:
    with in_background(completions, ann, model="orwell", stream=True) as future:
        [job] = queued(ann)
        assert ann.post(f"/v1/jobs/{job['id']}/cancel").status_code == 202
    [last] = events(future.result().text)
    assert "cancelled" in last["error"]["message"]


def test_a_key_that_is_revoked_ends_the_stream(
    harness: ApiHarness, ann: Person, admin: Person, model: Any
) -> None:
    with in_background(completions, ann, model="orwell", stream=True) as future:
        queued(ann)
        assert admin.patch("/v1/users/ann", {"disabled": True}).status_code == 200
    [last] = events(future.result().text)
    assert last["error"]["code"] == "invalid_api_key"


@contextmanager
def stream_of(person: Person, **body: Any) -> Iterator[Any]:
    """Open a stream that the block may leave."""
    response = person.client.post(
        f"{ROOT}/completions",
        json={"model": "orwell", "stream": True, **body},
        headers={"Authorization": f"Bearer {person.key}"},
    )
    try:
        assert response.status_code == 200
        yield response
    finally:
        response.close()


def first_event(response: Any) -> str:
    chunk = next(iter(response.response))
    return chunk.decode() if isinstance(chunk, bytes) else str(chunk)


def test_a_client_that_hangs_up_cancels_its_text(
    harness: ApiHarness, ann: Person, model: Any, publisher: EventPublisher
) -> None:
    with ThreadPoolExecutor(1) as thread:

        def leave_after_the_first_piece() -> None:
            alone = Person(harness.app.test_client(), ann.name, ann.key)
            with stream_of(alone, prompt=["It was", "the day"]) as response:
                assert "and" in first_event(response)

        left = thread.submit(leave_after_the_first_piece)
        running, waiting = queued(ann, 2)
        claim = harness.claim(running["id"], "generate")
        publisher.publish(claim.job_id, 1, "piece", position=0, offset=0, text="and")
        assert publisher.flush()
        left.result(10)
    assert ann.get(f"/v1/jobs/{running['id']}").json["cancel_requested"] is True
    assert ann.get(f"/v1/jobs/{waiting['id']}").json["status"] == "cancelled"


def test_with_an_idempotency_key_the_text_goes_on_and_can_be_had_later(
    harness: ApiHarness, ann: Person, model: Any, publisher: EventPublisher
) -> None:
    headers = {"Idempotency-Key": "once"}
    body = {"model": "orwell", "prompt": "It was", "stream": True}

    def ask(person: Person) -> Any:
        return person.post(f"{ROOT}/completions", body, headers=headers)

    stopping = harness.app.extensions[EXTENSION].stopping
    with in_background(ask, ann) as future:
        [job] = queued(ann)
        stopping.set()
    stopping.clear()
    [last] = events(future.result().text)
    assert "Send the request again" in last["error"]["message"]
    assert ann.get(f"/v1/jobs/{job['id']}").json["status"] == "queued"
    write(harness, publisher, job)
    assert parts(ask(ann).text) == [TEXT]
    assert len(ann.items("/v1/jobs?kind=generate")) == 1


def test_without_a_seat_nothing_is_submitted(harness: ApiHarness, ann: Person, model: Any) -> None:
    seats = harness.app.extensions[EXTENSION].event_stream_seats
    ids = user_id(harness, ann)
    taken = [seats.take(ids) for _ in range(seats.count)]
    answer = completions(ann, model="orwell", stream=True)
    assert error(answer, 503)["code"] == "too_many_listeners"
    assert answer.headers["Retry-After"] == "15"
    assert "x-should-retry" not in answer.headers
    assert ann.items("/v1/jobs?kind=generate") == []
    for seat in taken:
        seats.leave(seat)


def test_what_is_refused_before_the_stream_is_no_stream(ann: Person, model: Any) -> None:
    answer = completions(ann, model="orwell", stream=True, max_tokens=0)
    assert error(answer, 400)["param"] == "max_tokens"
    assert error(completions(ann, model="none", stream=True), 404)["param"] == "model"
