"""A worker's part in a stream, and what a client gets of it."""

from typing import Any

from shared.event_publisher import EventPublisher
from tests.api.harness import ApiHarness, record
from tests.openai.calls import events

TEXT = "and the sea was calm"


def write(
    harness: ApiHarness, publisher: EventPublisher, job: Any, pieces: Any = (), **fields: Any
) -> None:
    """Play a worker's part: publish pieces, and store the texts."""
    claim = harness.claim(job["id"], "generate")
    for position, offset, text in pieces:
        prompt = {} if offset else {"prompt": "It "}
        place = {"position": position, "offset": offset, "text": text}
        publisher.publish(claim.job_id, claim.attempt, "piece", **place, **prompt)
    assert publisher.flush()
    count = job["spec"]["n"]
    harness.queue.succeed(claim, [record(i, TEXT, None, **fields) for i in range(count)])
    publisher.publish(claim.job_id, claim.attempt, "state")
    assert publisher.flush()


def parts(body: str, index: int = 0) -> list[str]:
    """Return the parts of a text in a stream of completions."""
    return [
        choice["text"]
        for event in events(body)
        if event != "data: [DONE]"
        for choice in event["choices"]
        if choice["index"] == index and choice["finish_reason"] is None
    ]
