"""Runs a part of the server as a program: the API, the workers, the migrations."""

import importlib
import sys
from typing import NoReturn

from shared.process import json_stderr
from shared.process.gc_freeze import gc_frozen_after_load
from shared.settings import wants_json_logs


def wrap_stderr(*, with_stdout: bool = False) -> None:
    """Make every line of standard error JSON, if QUIRE_LOG_FORMAT asks for it."""
    if wants_json_logs():
        json_stderr.install(with_stdout=with_stdout)


def run_part(module: str, *, prints: bool = False) -> NoReturn:
    """Run the `main` of a module, and exit with what it returns.

    The module is imported here, so that warnings and errors of the import are in the log's format.

    Args:
        module: The module's name.
        prints: Whether it prints results, which stay as they are. All else is a line of the log.
    """
    wrap_stderr(with_stdout=not prints)
    with gc_frozen_after_load():
        part = importlib.import_module(module)
    sys.exit(part.main())
