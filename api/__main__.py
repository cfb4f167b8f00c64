"""``python -m api``: the API behind gunicorn, one process with threads."""

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
from shared.process.title import set_title
from shared.settings import Settings, SettingsError, load_settings

#: After TERM: as long as requests that have begun may take.
GRACEFUL_SECONDS = 8
KEEP_ALIVE_SECONDS = 15
#: Beside those of listeners.
CONNECTIONS = 1000

log = structlog.get_logger("api")


class CannotStart(Exception):
    """The API would not work: the message says what to do first."""


class QuietLogger(Logger):  # type: ignore[misc]  # gunicorn is not typed
    """Sends gunicorn's lines where all others go; the access log is the API's own."""

    def setup(self, _cfg: Config) -> None:
        """Leave the handlers to shared/logs.py."""
        self.error_log = logging.getLogger("gunicorn.error")
        self.error_log.handlers.clear()
        self.error_log.propagate = True

    def access(self, *_args: Any) -> None:
        """Nothing: see api/http/request_log.py."""


class Server(BaseApplication):  # type: ignore[misc]
    """gunicorn with settings of ours instead of its own files and options."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        super().__init__()

    def load_config(self) -> None:
        """One worker, since threads share a pool of connections and the slots to wait in."""
        options = {
            "bind": f"{_in_brackets(self.settings.api_host)}:{self.settings.api_port}",
            "workers": 1,
            "worker_class": "gthread",
            # Those who only listen hold a thread each; see api/http/concurrency.py.
            "threads": self.settings.api_threads + self.settings.max_listeners,
            "worker_connections": CONNECTIONS + self.settings.max_listeners,
            "control_socket_disable": True,
            "graceful_timeout": GRACEFUL_SECONDS,
            "keepalive": KEEP_ALIVE_SECONDS,
            "logger_class": QuietLogger,
            "when_ready": _say_address,
            "pre_fork": _set_title,
            "post_worker_init": self._stop_waiting_at_term,
        }
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        """The application, made in the worker: a pool of connections must not be forked."""
        return create_app(self.settings)

    def _stop_waiting_at_term(self, worker: Worker) -> None:
        set_title(f"api {_address(worker.sockets[0].sock)} (worker)")
        shared = self.wsgi().extensions[EXTENSION]
        stop = signal.getsignal(signal.SIGTERM)

        def stop_waiting(number: int, frame: Any) -> None:
            shared.stopping.set()
            if callable(stop):
                stop(number, frame)

        signal.signal(signal.SIGTERM, stop_waiting)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until TERM.

    Returns:
        2 for a setting that is not allowed, 1 where the database is not as it must be.
    """
    options = _options(arguments)
    try:
        settings = load_settings(**options)
        settings.broker  # noqa: B018 - asked for here, so that the answer comes before the start
        configure_logging(settings)
        _check_database(settings)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    except CannotStart as error:
        print(error, file=sys.stderr)
        return 1
    if settings.api_one_core:
        _keep_to_one_core()
    Server(settings).run()
    return 0


def _keep_to_one_core() -> None:
    """Let this process and its worker run on one core; see `Settings.api_one_core`."""
    # The last, since whoever takes cores by number begins with the first.
    core = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})
    log.info("kept_to_one_core", core=core)


def _options(arguments: Sequence[str] | None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(prog="python -m api", description="The API of Quire.")
    parser.add_argument("--host", dest="api_host", help="the address to listen on")
    parser.add_argument("--port", dest="api_port", help="the port; 0 takes a free one")
    parser.add_argument("--threads", dest="api_threads", help="requests answered at once")
    given = vars(parser.parse_args(arguments))
    return {name: value for name, value in given.items() if value is not None}


def _check_database(settings: Settings) -> None:
    try:
        found, wanted = migrate.current(settings.database), migrate.newest()
    except OperationalError as error:
        reason = str(error.orig).strip().splitlines()[0]
        raise CannotStart(f"DATABASE_URL: the database can't be reached: {reason}") from None
    if found != wanted:
        raise CannotStart(
            f"the database's schema is {found or 'empty'} and this version needs {wanted}: "
            "run quire migrate"
        )
    engine = make_engine(settings.database)
    log_database(engine)
    engine.dispose()


def _say_address(arbiter: Arbiter) -> None:
    url = f"http://{_address(arbiter.LISTENERS[0].sock)}"
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
    sys.exit(main())
