"""The command line that runs one of this installation's modules as a program."""

import sys


def python_module(module: str, *arguments: str) -> tuple[str, ...]:
    """The argv of ``python -m MODULE ARGUMENTS``, run by this same Python.

    ``-P`` keeps the working directory off the module path, so that a `shared/` or `json.py` that
    lies there is never imported. Interpreters that the program spawns inherit the flag.
    """
    return (sys.executable, "-P", "-m", module, *arguments)
