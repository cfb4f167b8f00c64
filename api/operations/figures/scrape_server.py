"""A port of its own for `/metrics`, so that a network of its own may read it without a key."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import structlog

from api.operations.figures.scrape import CONTENT_TYPE

#: How long a client may take to send its request, or to read the answer.
STALL_SECONDS = 10.0

log = structlog.get_logger(__name__)


@contextmanager
def serving_metrics(host: str, port: int, read: Callable[[], bytes]) -> Iterator[None]:
    """Answer ``GET /metrics`` on a port of its own inside the block.

    Args:
        host: The address to listen on.
        port: The port.
        read: Returns the text.

    Raises:
        OSError: The address can't be listened on.
    """

    class Handler(BaseHTTPRequestHandler):
        timeout = STALL_SECONDS
        server_version, sys_version = "quire", ""

        def do_GET(self) -> None:
            if self.path.partition("?")[0] != "/metrics":
                self.send_error(HTTPStatus.NOT_FOUND)
                return
            try:
                text = read()
            except Exception:
                log.exception("periodic_task_failed", task="metrics")
                self.send_error(HTTPStatus.SERVICE_UNAVAILABLE)
                return
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", CONTENT_TYPE)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, format: str, *args: object) -> None:
            """Scrapes are many, and all alike."""

    class Server(ThreadingHTTPServer):
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        daemon_threads = True

    server = Server((host, port), Handler)
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    log.info("metrics_listening", host=host, port=port)
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
