"""``python -m api``: run the API under gunicorn, as one process with threads."""

import argparse
import logging
import os
import signal
import socket
import sys
from collections.abc import Sequence
from typing import Any

import structlog
from flask import Flask
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.config import Config
from gunicorn.glogging import Logger
from gunicorn.workers.base import Worker
from sqlalchemy.exc import OperationalError

from api.app import create_app
from api.services import EXTENSION
from migrations import migrate
from shared.database import log_database, make_engine
from shared.logs import configure_logging
from shared.process.part import wrap_stderr
from shared.process.title import set_title
from shared.settings import Settings, SettingsError, load_settings

#: How long requests in flight may take after SIGTERM.
GRACEFUL_SECONDS = 8
KEEP_ALIVE_SECONDS = 15
#: Not counting event streams.
CONNECTIONS = 1000

log = structlog.get_logger("api")


class CannotStart(Exception):
    """The API can't start. The message says what to do first."""


class QuietLogger(Logger):  # type: ignore[misc]  # gunicorn is not typed
    """Send gunicorn's log to the common log, without its access log."""

    def setup(self, _cfg: Config) -> None:
        """Leave the handlers to shared/logs.py."""
        self.error_log = logging.getLogger("gunicorn.error")
        self.error_log.handlers.clear()
        self.error_log.propagate = True

    def access(self, *_args: Any) -> None:
        """Log nothing: api/http/request_log.py writes the access log."""


class Server(BaseApplication):  # type: ignore[misc]
    """A gunicorn server configured by Quire's settings instead of gunicorn's files and options."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        super().__init__()

    def load_config(self) -> None:
        """Configure one worker: its threads share the connection pool and the wait slots."""
        options = {
            "bind": f"{_in_brackets(self.settings.api_host)}:{self.settings.api_port}",
            "workers": 1,
            "worker_class": "gthread",
            # Each event stream holds a thread; see api/http/concurrency.py.
            "threads": self.settings.api_threads + self.settings.max_listeners,
            "worker_connections": CONNECTIONS + self.settings.max_listeners,
            "control_socket_disable": True,
            "graceful_timeout": GRACEFUL_SECONDS,
            "keepalive": KEEP_ALIVE_SECONDS,
            "logger_class": QuietLogger,
            "when_ready": _announce_address,
            "post_worker_init": self._stop_waiting_on_sigterm,
            "pre_fork": _set_title,
        }
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        """Create the application in the worker process: a connection pool must not be forked."""
        return create_app(self.settings)

    def _stop_waiting_on_sigterm(self, worker: Worker) -> None:
        set_title(f"api {_address(worker.sockets[0].sock)} (worker)")
        services = self.wsgi().extensions[EXTENSION]
        previous_handler = signal.getsignal(signal.SIGTERM)

        def stop_waiting(number: int, frame: Any) -> None:
            services.stopping.set()
            if callable(previous_handler):
                previous_handler(number, frame)

        signal.signal(signal.SIGTERM, stop_waiting)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM.

    Returns:
        2 for an invalid setting, 1 if the database is unreachable or has another schema.
    """
    options = _options(arguments)
    try:
        settings = load_settings(**options)
        settings.broker  # noqa: B018 - checked here, so that the process fails before it starts
        configure_logging(settings)
        _check_database(settings)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    except CannotStart as error:
        print(error, file=sys.stderr)
        return 1
    if settings.api_one_core:
        _pin_to_one_core()
    Server(settings).run()
    return 0


def _pin_to_one_core() -> None:
    """Pin this process and its worker to one core; see `Settings.api_one_core`."""
    # The last one: programs that take cores by number start with the first.
    core = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})
    log.info("kept_to_one_core", core=core)


def _options(arguments: Sequence[str] | None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(prog="python -m api", description="Run Quire's HTTP API.")
    parser.add_argument("--host", dest="api_host", help="address to listen on")
    parser.add_argument("--port", dest="api_port", help="port to listen on; 0 picks a free one")
    parser.add_argument("--threads", dest="api_threads", help="requests handled at once")
    options = vars(parser.parse_args(arguments))
    return {name: value for name, value in options.items() if value is not None}


def _check_database(settings: Settings) -> None:
    try:
        current, newest = migrate.current(settings.database), migrate.newest()
    except OperationalError as error:
        reason = str(error.orig).strip().splitlines()[0]
        raise CannotStart(f"DATABASE_URL: the database can't be reached ({reason})") from None
    if current != newest:
        raise CannotStart(
            f"the database has schema {current or 'none'} and this version needs {newest}. "
            "Run quire migrate"
        )
    engine = make_engine(settings.database)
    log_database(engine)
    engine.dispose()


def _announce_address(arbiter: Arbiter) -> None:
    host, port = arbiter.LISTENERS[0].sock.getsockname()[:2]
    url = f"http://{_in_brackets(host)}:{port}"
    log.info("listening", url=url)
    print(f"Quire's API listens on {url}", flush=True)


def _set_title(arbiter: Arbiter, _worker: Worker) -> None:
    # Before each fork: gunicorn sets its own title once it is ready.
    set_title(f"api {_address(arbiter.LISTENERS[0].sock)}")


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"{_in_brackets(host)}:{port}"


def _in_brackets(host: str) -> str:
    return f"[{host}]" if ":" in host else host


if __name__ == "__main__":
    wrap_stderr()
    sys.exit(main())
