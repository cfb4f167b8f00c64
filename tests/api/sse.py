"""Server-Sent Events as a browser reads them."""

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
    """The events of a stream; comments and `retry` are left out."""
    rest = ""
    for chunk in chunks:
        rest += chunk.decode()
        while "\n\n" in rest:
            block, rest = rest.split("\n\n", 1)
            fields = dict(line.split(": ", 1) for line in block.split("\n") if line[0] != ":")
            if "event" in fields:
                yield Event(fields["event"], json.loads(fields["data"]), fields.get("id"))


@dataclass
class Following:
    """Somebody who follows a job, in a thread of their own."""

    person: Person
    job: str
    last_id: str | None = None
    seen: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._events: Queue[Event | None] = Queue()
        self._left = threading.Event()
        self._begun = threading.Event()
        # The whole request in one thread, as the server has it.
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()
        assert self._begun.wait(PATIENCE_SECONDS), "no answer came"

    def _follow(self) -> None:
        headers = {"Authorization": f"Bearer {self.person.key}"}
        if self.last_id is not None:
            headers["Last-Event-ID"] = self.last_id
        client = self.person.client.application.test_client()
        response = client.get(f"/v1/jobs/{self.job}/events", headers=headers)
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
        while not self._left.is_set():
            self._begun.set()
            chunk = next(chunks, None)
            if chunk is None:
                return
            yield chunk.encode() if isinstance(chunk, str) else chunk

    def next(self) -> Event | None:
        """The next event; None where there is no other."""
        try:
            event = self._events.get(timeout=PATIENCE_SECONDS)
        except Empty:
            raise AssertionError(f"nothing came after {self.seen}") from None
        if event is not None:
            self.seen.append(event)
        return event

    def until(self, wanted: Callable[[Event], object]) -> Event:
        """Read on until there is an event of a kind."""
        while (event := self.next()) is not None:
            if wanted(event):
                return event
        raise AssertionError(f"it ended before that came: {self.seen}")

    def to_the_end(self) -> list[Event]:
        """Everything that came."""
        while self.next() is not None:
            pass
        return self.seen

    def leave(self) -> None:
        """Listen no more; the server learns of it at its next word."""
        self._left.set()
        self._thread.join(PATIENCE_SECONDS)
        assert not self._thread.is_alive(), "it is not heard of any more"


def written(events: Iterable[Event], index: int = 0) -> str:
    """A text as far as its pieces tell it; fails at a gap or a repeat."""
    text = ""
    for event in events:
        if event.kind == "piece" and event.data["index"] == index:
            assert event.data["offset"] == len(text), (event, text)
            text += event.data["text"]
    return text
