"""Whether the client of a request is still there."""

from collections.abc import Callable

from flask import request


def client_gone() -> Callable[[], bool]:
    """Return a function that tells, from any thread, whether this request's client hung up.

    Servers that can't tell say no.
    """
    disconnected: Callable[[], bool] = request.environ.get(
        "waitress.client_disconnected", lambda: False
    )
    return disconnected
