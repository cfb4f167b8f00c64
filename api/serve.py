"""Runs the API behind its front, as one process or several."""

import argparse
import logging
import os
import resource
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import structlog
from flask import Flask
from sqlalchemy.exc import OperationalError

from api.app import create_app
from api.front import Front, FrontLimits
from api.front.limits import allowed_connections
from api.http.head_policy import ApiHeadPolicy
from api.operations.figures.scrape import expose
from api.operations.figures.scrape_server import serving_metrics
from api.services import EXTENSION, Services
from api.traces import HttpFigures
from migrations import migrate
from shared.database import log_database, make_engine
from shared.logs import configure_logging
from shared.notifications.courier import Courier
from shared.process.gc_freeze import gc_frozen_after_load
from shared.process.python_module import python_module
from shared.process.supervisor import Child, ProcessSupervisor, StopRequested
from shared.process.title import set_title
from shared.settings import Settings, SettingsError, load_settings

#: How long requests in flight may take after SIGTERM.
GRACEFUL_SECONDS = 8
#: What a process among several may take to end, beyond that.
CHILD_GRACE_SECONDS = GRACEFUL_SECONDS + 4.0
#: A thread's stack. Hundreds of idle streams would otherwise reserve 8 MiB each.
STACK_BYTES = 1024 * 1024

log = structlog.get_logger("api")


class CannotStart(Exception):
    """The API can't start. The message says what to do first."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM.

    Returns:
        2 for an invalid setting, 1 if the database is unreachable or has another schema, or if
        the address can't be listened on.
    """
    options = _options(arguments)
    listener_fd = options.pop("listener_fd", None)
    try:
        settings = load_settings(**options)
        settings.broker  # noqa: B018 - checked here, so that the process fails before it starts
        configure_logging(settings)
        _check_database(settings)
        listener = _bind(settings) if listener_fd is None else _inherit(int(listener_fd))
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    except CannotStart as error:
        print(error, file=sys.stderr)
        return 1
    if listener_fd is not None:
        return _serve(settings, listener)
    try:
        with _metrics_port(settings):
            # The address is announced once nothing can fail any more; connections wait in the
            # backlog.
            if settings.api_processes > 1:
                _announce_address(listener)
                return _supervise(settings, listener)
            if settings.api_one_core:
                _pin_to_one_core()
            return _serve(settings, listener, announce=True)
    except CannotStart as error:
        print(error, file=sys.stderr)
        return 1


@contextmanager
def _metrics_port(settings: Settings) -> Iterator[None]:
    """Answer `/metrics` on a port of its own, if there is one, from all processes' figures."""
    if settings.metrics_port is None:
        yield
        return
    engine = make_engine(settings.database, pool_size=2)
    figures = HttpFigures(engine, settings.broker, lambda: 0)
    with ExitStack() as stack:
        stack.callback(engine.dispose)
        stack.callback(figures.close)
        try:
            stack.enter_context(
                serving_metrics(
                    settings.api_host,
                    settings.metrics_port,
                    lambda: expose(engine, settings, figures.streams()),
                )
            )
        except OSError as error:
            raise CannotStart(
                f"QUIRE_METRICS_PORT: can't listen on {settings.metrics_port} "
                f"({error.strerror or error}). Choose another one"
            ) from None
        yield


def _serve(settings: Settings, listener: socket.socket, *, announce: bool = False) -> int:
    """Serve requests in this process until a signal."""
    set_title(f"api {_address(listener)}")
    _limit_thread_stacks()
    # It says that a client left, and that requests wait for a thread: neither is a fault.
    logging.getLogger("waitress").setLevel(logging.ERROR)
    with gc_frozen_after_load():
        app = create_app(settings)
    services: Services = app.extensions[EXTENSION]
    front = Front(
        app.wsgi_app,
        listener,
        ApiHeadPolicy(app),
        _limits(settings),
        services.request_slots,
    )

    def stop(*_: object) -> None:
        services.stopping.set()
        front.pull_trigger()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    courier = _start_courier(services)
    if announce:
        _announce_address(listener)
    front.serve(services.stopping, GRACEFUL_SECONDS)
    courier.join(GRACEFUL_SECONDS)
    _close(app)
    return 0


def _supervise(settings: Settings, listener: socket.socket) -> int:
    """Run several processes that accept from one listening socket, and restart those that die."""
    set_title(f"api {_address(listener)} (supervisor)")
    listener.set_inheritable(True)
    options = ("--listener-fd", str(listener.fileno()), "--threads", str(settings.api_threads))
    argv = python_module("api", *options)
    with ProcessSupervisor() as supervisor, suppress(StopRequested), supervisor.signals():
        supervisor.start_together(
            *(
                Child(
                    f"api-{number}",
                    argv,
                    grace_seconds=CHILD_GRACE_SECONDS,
                    inherited_fds=(listener.fileno(),),
                )
                for number in range(settings.api_processes)
            )
        )
        supervisor.watch()
    return 0


def _limits(settings: Settings) -> FrontLimits:
    return FrontLimits(
        head_seconds=settings.head_seconds,
        body_seconds=settings.body_seconds,
        min_body_rate=settings.min_body_rate,
        idle_seconds=settings.idle_seconds,
        stall_seconds=settings.stall_seconds,
        max_connections=allowed_connections(settings.max_connections),
    )


def _start_courier(services: Services) -> threading.Thread:
    """Send webhooks and mails from this process: the workers' network has no way out.

    Several processes share them by rows.
    """
    settings = services.settings
    courier = Courier(services.engine, settings.address_policy, settings.mail_server)
    # A try that takes longer than the process has is made again by another one.
    thread = threading.Thread(
        target=courier.run, args=(services.stopping,), name="courier", daemon=True
    )
    thread.start()
    return thread


def _limit_thread_stacks() -> None:
    soft, _ = resource.getrlimit(resource.RLIMIT_STACK)
    if soft == resource.RLIM_INFINITY or soft > STACK_BYTES:
        threading.stack_size(STACK_BYTES)


def _close(app: Flask) -> None:
    services: Services = app.extensions[EXTENSION]
    services.close()


def _pin_to_one_core() -> None:
    """Pin this process to one core; see `Settings.api_one_core`."""
    # The last one: programs that take cores by number start with the first.
    core = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})
    log.info("kept_to_one_core", core=core)


def _options(arguments: Sequence[str] | None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(prog="python -m api", description="Run Quire's HTTP API.")
    parser.add_argument("--host", dest="api_host", help="address to listen on")
    parser.add_argument("--port", dest="api_port", help="port to listen on; 0 picks a free one")
    parser.add_argument("--threads", dest="api_threads", help="requests handled at once")
    parser.add_argument("--listener-fd", help="a listening socket to inherit, instead of --port")
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


def _bind(settings: Settings) -> socket.socket:
    host, port = settings.api_host, settings.api_port
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(address)
        # Another process that listens on the port is found here, not in the event loop.
        listener.listen()
    except OSError as error:
        raise CannotStart(
            f"can't listen on {_in_brackets(host)}:{port}: {error.strerror or error}. "
            "Choose another --host or --port"
        ) from None
    return listener


def _inherit(descriptor: int) -> socket.socket:
    try:
        return socket.socket(fileno=descriptor)
    except OSError as error:
        raise CannotStart(
            f"--listener-fd {descriptor}: not an open socket ({error.strerror})"
        ) from None


def _announce_address(listener: socket.socket) -> None:
    url = f"http://{_address(listener)}"
    log.info("listening", url=url)
    print(f"Quire's API listens on {url}", flush=True)


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"{_in_brackets(host)}:{port}"


def _in_brackets(host: str) -> str:
    return f"[{host}]" if ":" in host else host
