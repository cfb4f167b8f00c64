"""A receiver of webhooks, and a mail server, on this machine."""

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Received:
    """A request as it came."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """Takes webhooks, and answers with the next of its statuses: the last one for ever.

    Attributes:
        url: Its address.
        statuses: The answers.
        location: Where a redirect leads.
        hold: While it is not set, no request is answered.
        received: What came.
    """

    url: str = ""
    statuses: list[int] = field(default_factory=lambda: [204])
    location: str = ""
    hold: threading.Event = field(default_factory=threading.Event)
    received: list[Received] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.hold.set()

    def take(self, request: BaseHTTPRequestHandler) -> None:
        length = int(request.headers.get("Content-Length", 0))
        body = request.rfile.read(length)
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.received.append(Received(request.path, headers, body))
        self.hold.wait(20)
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        request.send_response(status)
        if 300 <= status < 400:
            request.send_header("Location", self.location)
        request.send_header("Content-Length", "0")
        request.end_headers()


@contextmanager
def receiving() -> Iterator[Receiver]:
    """Run a receiver."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            receiver.take(self)

        def do_GET(self) -> None:
            receiver.take(self)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver.url = f"http://127.0.0.1:{server.server_port}/hook?from=quire"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield receiver
        finally:
            receiver.hold.set()
            server.shutdown()
            thread.join()


@dataclass
class MailBox:
    """Takes mails.

    Attributes:
        port: Its port.
        refuse: The answer to a recipient, in place of 250.
        mails: The recipients and the text of each.
    """

    port: int = 0
    refuse: str | None = None
    mails: list[tuple[str, str]] = field(default_factory=list)


@contextmanager
def mailbox() -> Iterator[MailBox]:
    """Run a mail server: as much of RFC 5321 as it takes to hand a mail in."""
    box = MailBox()

    class Session(socketserver.StreamRequestHandler):
        def say(self, line: str) -> None:
            self.wfile.write(f"{line}\r\n".encode())

        def handle(self) -> None:
            self.say("220 box")
            recipient = ""
            while line := self.rfile.readline().decode().strip():
                verb = line[:4].upper()
                if verb == "RCPT":
                    recipient = line.partition("<")[2].partition(">")[0]
                    self.say(box.refuse or "250 ok")
                elif verb == "DATA":
                    self.say("354 go on")
                    lines = iter(self.rfile.readline, b".\r\n")
                    box.mails.append((recipient, b"".join(lines).decode()))
                    self.say("250 taken")
                elif verb == "QUIT":
                    self.say("221 bye")
                    return
                else:
                    self.say("250 ok")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Session) as server:
        box.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield box
        finally:
            server.shutdown()
            thread.join()
