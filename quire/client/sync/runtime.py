"""What differs between the client and the asynchronous one that it is generated from.

Every other file of this folder is written by `make client`.
"""

import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

sleep = time.sleep


def off_loop(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call a function that reads or writes files."""
    return function(*args, **kwargs)


def at_once(value: R) -> R | None:
    """Return a value where nothing can be awaited, such as in a `repr`: the value."""
    return value
