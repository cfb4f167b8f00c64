"""Runs a part of the server as a program: the API, the workers, the migrations."""

import importlib
import sys
from typing import NoReturn

from shared.process import json_stderr
from shared.process.garbage import loading
from shared.settings import wants_json_logs


def wrap_stderr(*, with_stdout: bool = False) -> None:
    """Make every line of standard error JSON, if QUIRE_LOG_FORMAT asks for it."""
    if wants_json_logs():
        json_stderr.install(with_stdout=with_stdout)


def run_part(module: str) -> NoReturn:
    """Run the `main` of a module, which prints no results, and exit with what it returns.

    The module is imported here, so that warnings and errors of the import are in the log's format.
    """
    wrap_stderr(with_stdout=True)
    with loading():
        part = importlib.import_module(module)
    sys.exit(part.main())
