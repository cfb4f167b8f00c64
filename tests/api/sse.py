"""A client that reads Server-Sent Events as a browser does."""

import json
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from queue import Empty, Queue
from typing import Any

from tests.api.harness import Person

PATIENCE_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Event:
    kind: str
    data: Any
    id: str | None


def parse(chunks: Iterable[bytes]) -> Iterator[Event]:
    """Yield the events of a stream, without comments and `retry`."""
    rest = ""
    for chunk in chunks:
        rest += chunk.decode()
        while "\n\n" in rest:
            block, rest = rest.split("\n\n", 1)
            fields = dict(line.split(": ", 1) for line in block.split("\n") if line[0] != ":")
            if "event" in fields:
                yield Event(fields["event"], json.loads(fields["data"]), fields.get("id"))


@dataclass
class EventStreamClient:
    """A client that follows a job, in a thread of its own."""

    person: Person
    job: str
    last_id: str | None = None
    received: list[Event] = field(default_factory=list)
    headers: dict[str, str] | None = None
    path: str | None = None

    def __post_init__(self) -> None:
        self._events: Queue[Event | None] = Queue()
        self._closed = threading.Event()
        self._responded = threading.Event()
        # One thread handles the whole request, as in the server.
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()
        assert self._responded.wait(PATIENCE_SECONDS), "no response arrived"

    def _follow(self) -> None:
        headers = dict(self.headers or {"Authorization": f"Bearer {self.person.key}"})
        if self.last_id is not None:
            headers["Last-Event-ID"] = self.last_id
        client = self.person.client.application.test_client(use_cookies=False)
        path = self.path or f"/v1/jobs/{self.job}/events"
        response = client.get(path, headers=headers)
        try:
            assert response.status_code == 200, response.text
            assert response.mimetype == "text/event-stream"
            for event in parse(self._chunks(response.response)):
                self._events.put(event)
        finally:
            response.close()
            self._events.put(None)

    def _chunks(self, response: Iterable[Any]) -> Iterator[bytes]:
        chunks = iter(response)
        while not self._closed.is_set():
            self._responded.set()
            chunk = next(chunks, None)
            if chunk is None:
                return
            yield chunk.encode() if isinstance(chunk, str) else chunk

    def next(self) -> Event | None:
        """Return the next event; None at the end of the stream."""
        try:
            event = self._events.get(timeout=PATIENCE_SECONDS)
        except Empty:
            raise AssertionError(f"no event arrived after {self.received}") from None
        if event is not None:
            self.received.append(event)
        return event

    def until(self, wanted: Callable[[Event], object]) -> Event:
        """Read until an event satisfies the condition, and return it."""
        while (event := self.next()) is not None:
            if wanted(event):
                return event
        raise AssertionError(f"the stream ended without the event: {self.received}")

    def read_to_end(self) -> list[Event]:
        """Read to the end of the stream and return all events."""
        while self.next() is not None:
            pass
        return self.received

    def close(self) -> None:
        """Close the connection. The server notices at its next write."""
        self._closed.set()
        self._thread.join(PATIENCE_SECONDS)
        assert not self._thread.is_alive(), "the stream does not close"


def joined_pieces(events: Iterable[Event], index: int = 0) -> str:
    """Join the pieces of a text; fail at a gap or a repeat."""
    text = ""
    for event in events:
        if event.kind == "piece" and event.data["index"] == index:
            assert event.data["offset"] == len(text), (event, text)
            text += event.data["text"]
    return text
