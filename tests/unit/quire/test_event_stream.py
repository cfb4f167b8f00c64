"""The client's event stream against a server that sends exactly what a test says."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from quire.client import Client
from quire.client.events import StreamEvent
from quire.client.replies import Job
from quire.client.sync.event_stream import stream_events
from quire.errors import EventStreamError, ExitCode

RUNNING = {"id": "1", "kind": "train", "status": "running", "created_at": "2026-01-02T03:04:05Z"}
ENDED = f"id: 1-end\nevent: state\ndata: {json.dumps(RUNNING | {'status': 'succeeded'})}\n\n"
MEBIBYTE = 1024 * 1024

Serve = Callable[..., tuple[list[StreamEvent], list[str | None]]]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Sends each body in turn; returns the events read, and the Last-Event-ID of each request."""
    bodies: list[str] = []
    last_event_ids: list[str | None] = []
    content_types = ["text/event-stream"]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.endswith("/events"):
                last_event_ids.append(self.headers["Last-Event-ID"])
                self.reply(content_types[0], bodies.pop(0))
            else:
                self.reply("application/json", json.dumps(RUNNING))

        def reply(self, content_type: str, body: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", content_type)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()

    def read(
        *sent: str, content_type: str = "text/event-stream"
    ) -> tuple[list[StreamEvent], list[str | None]]:
        bodies[:] = sent
        content_types[:] = [content_type]
        with Client.anonymous(f"http://127.0.0.1:{server.server_port}") as client:
            events = list(stream_events(client, Job.model_validate(RUNNING)))
        return events, last_event_ids

    try:
        yield read
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_comments_and_retry_times_are_not_events(serve: Serve) -> None:
    events, _ = serve(
        f'retry: 2000\n\n: still there\n\nid: 1-2\nevent: piece\ndata: {{"a": 1}}\n\n{ENDED}'
    )
    assert events[0] == StreamEvent("piece", {"a": 1}, "1-2")
    assert [event.type for event in events] == ["piece", "state"]


def test_the_space_after_the_colon_is_optional(serve: Serve) -> None:
    events, _ = serve(f'id:1-2\nevent:piece\ndata:{{"a":1}}\n\n{ENDED}')
    assert events[0] == StreamEvent("piece", {"a": 1}, "1-2")


def test_data_may_span_several_lines(serve: Serve) -> None:
    events, _ = serve(f'event: piece\ndata: {{"a":\ndata: 1}}\n\n{ENDED}')
    assert events[0] == StreamEvent("piece", {"a": 1}, None)


def test_an_event_may_be_larger_than_a_mebibyte(serve: Serve) -> None:
    text = "x" * (2 * MEBIBYTE)
    events, _ = serve(f"event: text\ndata: {json.dumps({'text': text})}\n\n{ENDED}")
    assert events[0].data["text"] == text


def test_a_broken_stream_is_resumed_after_the_last_event(serve: Serve) -> None:
    events, last_event_ids = serve("id: 1-7\nevent: piece\ndata: {}\n\n", ENDED)
    assert [event.type for event in events] == ["piece", "state"]
    assert last_event_ids == [None, "1-7"]


@pytest.mark.parametrize("data", ["not JSON", "[1]"])
def test_malformed_data_is_reported(serve: Serve, data: str) -> None:
    with pytest.raises(EventStreamError, match="event 'piece' is not"):
        serve(f"event: piece\ndata: {data}\n\n")


def test_a_page_that_is_no_event_stream_is_reported(serve: Serve) -> None:
    with pytest.raises(EventStreamError, match="text/html") as error:
        serve("<html>", content_type="text/html")
    assert error.value.exit_code == ExitCode.UNREACHABLE
