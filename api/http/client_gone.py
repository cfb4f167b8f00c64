"""Whether the client of a request is still there."""

from collections.abc import Callable

from flask import request

from api.front import ON_CLOSE


def client_gone() -> Callable[[], bool]:
    """Return a function that tells, from any thread, whether this request's client hung up.

    Servers that can't tell say no.
    """
    disconnected: Callable[[], bool] = request.environ.get(
        "waitress.client_disconnected", lambda: False
    )
    return disconnected


def when_client_goes(callback: Callable[[], object]) -> None:
    """Have a function called as soon as this request's client hangs up."""
    register = request.environ.get(ON_CLOSE)
    if register is not None:
        register(callback)
