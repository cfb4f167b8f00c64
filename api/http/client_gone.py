"""The client of a request: who it is to the front, and whether it is still there."""

from collections.abc import Callable

from flask import request

from api.front import ON_CLOSE, name_sender


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


def sender_of_request() -> str:
    """Name the sender of this request as the front does, so that all of them take turns."""
    headers = request.headers
    return name_sender(headers.get("Authorization"), headers.get("Cookie"), "")
