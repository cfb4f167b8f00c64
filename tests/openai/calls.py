"""Calls of OpenAI's API, answered while a worker's part is played through the queue."""

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from sqlalchemy import select

from shared.database import reading
from shared.tables import User
from tests.api.harness import ApiHarness, Person
from tests.services.waiting import until

PATIENCE_SECONDS = 10.0
ROOT = "/openai/v1"


def completions(person: Person, **body: Any) -> Any:
    return person.post(f"{ROOT}/completions", body)


def chat(person: Person, content: Any = "It was", **body: Any) -> Any:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": content}]
    return person.post(f"{ROOT}/chat/completions", {"messages": messages, **body})


def error(response: Any, status: int) -> Any:
    """Return the error in a response; fail unless it has the form of OpenAI's."""
    assert response.status_code == status, response.text
    assert response.content_type == "application/json"
    assert response.headers["X-Request-Id"]
    assert list(response.json) == ["error"]
    found = response.json["error"]
    assert list(found) == ["message", "type", "param", "code"]
    assert isinstance(found["message"], str)
    assert found["message"]
    return found


def refused_field(response: Any) -> tuple[Any, str]:
    """Return the field that a 400 names, and its message."""
    found = error(response, 400)
    assert found["type"] == "invalid_request_error"
    return found["param"], found["message"]


def queued(person: Person, count: int = 1) -> list[Any]:
    """Wait until the person has generations in the queue, and return them, oldest first."""

    def look() -> list[Any] | None:
        jobs = person.items("/v1/jobs?kind=generate&status=queued")
        return jobs[::-1] if len(jobs) == count else None

    return until(look, f"{count} queued generations", PATIENCE_SECONDS)


@contextmanager
def in_background(call: Any, person: Person, **body: Any) -> Iterator["Future[Any]"]:
    """Send a request from a thread of its own."""
    alone = Person(person.client.application.test_client(), person.name, person.key)
    with ThreadPoolExecutor(1) as threads:
        yield threads.submit(call, alone, **body)


def answered(
    harness: ApiHarness, person: Person, call: Any, *written: Sequence[str], **body: Any
) -> Any:
    """Return the answer to a request, each of whose jobs writes these texts."""
    with in_background(call, person, **body) as future:
        for job, texts in zip(queued(person, len(written)), written, strict=True):
            harness.write(job, texts)
        return future.result(PATIENCE_SECONDS)


def events(body: str) -> list[Any]:
    """Return the events of a stream; fail unless it has the form of OpenAI's."""
    blocks = body.split("\n\n")
    assert blocks.pop() == ""
    assert all(block.startswith("data: ") and "\n" not in block for block in blocks), body
    return [
        block if block == "data: [DONE]" else json.loads(block.removeprefix("data: "))
        for block in blocks
    ]


def user_id(harness: ApiHarness, person: Person) -> str:
    """Return the id of a person's row."""
    with reading(harness.engine) as connection:
        return str(connection.scalar(select(User.id).where(User.name == person.name)))
