"""`api`, `worker` and `migrate`: the parts of the server, each alone."""

import importlib.util
import os
import sys
from typing import Annotated, NoReturn

import typer

from quire.errors import InvalidInput
from shared.process.python_module import python_module
from shared.settings import load_settings

SERVER_PACKAGES = ("sqlalchemy", "alembic", "celery", "redis", "flask", "tensorflow")

Host = Annotated[str | None, typer.Option(help="The address to listen on [default: 127.0.0.1].")]
Port = Annotated[int | None, typer.Option(help="The port to listen on [default: 8420].")]
Devices = Annotated[
    str | None,
    typer.Option(help="auto, cpu, cpu:0,cpu:1, or UUIDs of GPUs [default: auto]."),
]
HostName = Annotated[
    str | None,
    typer.Option(help="What this machine is called; each needs another name [default: its own]."),
]


def require_server(command: str) -> None:
    """Check that the extra `server` is installed.

    Raises:
        InvalidInput: It is not; the message says how to install it.
    """
    if not all(importlib.util.find_spec(package) for package in SERVER_PACKAGES):
        raise InvalidInput(
            f"`quire {command}` needs the server's parts: in Quire's checkout, "
            "pip install '.[server]'"
        )


def api(host: Host = None, port: Port = None) -> None:
    """Run the API alone, against DATABASE_URL and REDIS_URL."""
    _become("api", "api", QUIRE_API_HOST=host, QUIRE_API_PORT=port)


def worker(devices: Devices = None, host_name: HostName = None) -> None:
    """Run this machine's workers alone, against DATABASE_URL and REDIS_URL."""
    _become("worker", "worker", QUIRE_DEVICES=devices, QUIRE_HOST_NAME=host_name)


def migrate() -> None:
    """Bring the database at DATABASE_URL to this version's schema."""
    _become("migrate", "migrations")


def _become(command: str, module: str, **options: str | int | None) -> NoReturn:
    """Become a part, so that signals and the exit code are its own."""
    require_server(command)
    given = {name: str(value) for name, value in options.items() if value is not None}
    os.environ.update(given)
    load_settings()  # a bad value is told here, before the part starts
    sys.stdout.flush()
    os.execv(sys.executable, python_module(module))  # noqa: S606  # our own module, and no shell
