"""The server's parts as processes: the API, the workers and the migrations."""

import importlib.util
import os
import sys
from typing import NoReturn

from quire.errors import InvalidInput
from shared.process.python_module import python_module
from shared.settings import load_settings

SERVER_PACKAGES = ("sqlalchemy", "alembic", "celery", "redis", "flask", "tensorflow")


def require_server(command: str) -> None:
    """Check that the extra `server` is installed.

    Raises:
        InvalidInput: It is not installed; the message says how to install it.
    """
    if not all(importlib.util.find_spec(package) for package in SERVER_PACKAGES):
        raise InvalidInput(
            f"`quire {command}` needs the server's packages. Install them in a checkout of "
            "Quire: pip install '.[server]'"
        )


def exec_part(command: str, module: str, **environment: str | int | None) -> NoReturn:
    """Replace this process by a part, so that signals and the exit code are the part's own.

    Args:
        command: The `quire` command, for the error message.
        module: The part's module.
        environment: Variables to set; those that are None stay as they are.

    Raises:
        InvalidInput: The extra `server` is not installed.
        SettingsError: A setting has a bad value.
    """
    require_server(command)
    os.environ.update(
        {name: str(value) for name, value in environment.items() if value is not None}
    )
    load_settings()  # a bad value is reported here, before the part starts
    sys.stdout.flush()
    os.execv(sys.executable, python_module(module))  # noqa: S606  # our own module, and no shell
