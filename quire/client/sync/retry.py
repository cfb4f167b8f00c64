# Written by `make client` from quire/client/aio/retry.py: change that file.
"""Retries that outlast a restart of the server."""

import time
from collections.abc import Callable
from http import HTTPStatus
from typing import TypeVar

import humanize

from quire.client.problems import ApiError
from quire.client.sync import runtime
from quire.errors import ExitCode, ServerUnreachable

POLL_SECONDS = 0.5
#: Give up on a server that has been unreachable for longer.
MAX_OUTAGE_SECONDS = 300.0

R = TypeVar("R")
#: Called with a message for the user.
Notify = Callable[[str], None]


def retry_while_unreachable(request: Callable[[], R], notify: Notify | None = None) -> R:
    """Repeat a request until the server answers it, as after a restart.

    Args:
        request: Sends the request; may be called many times.
        notify: Called once when the server becomes unreachable, and once when it is back.

    Raises:
        ServerUnreachable: The server was unreachable for longer than `MAX_OUTAGE_SECONDS`.
        ApiError: The server refused the request.
    """
    notify = notify or (lambda _message: None)
    unreachable_since: float | None = None
    while True:
        try:
            reply = request()
        except (ServerUnreachable, ApiError) as error:
            now = time.monotonic()
            outage_seconds = now - (unreachable_since or now)
            if not _is_temporary(error) or outage_seconds > MAX_OUTAGE_SECONDS:
                raise
            if unreachable_since is None:
                unreachable_since = now
                notify(f"the server is unreachable, retrying: {error}")
            runtime.sleep(POLL_SECONDS)
        else:
            if unreachable_since is not None:
                outage = humanize.naturaldelta(time.monotonic() - unreachable_since)
                notify(f"the server is back after {outage}")
            return reply


def _is_temporary(error: ServerUnreachable | ApiError) -> bool:
    too_many = isinstance(error, ApiError) and error.status == HTTPStatus.TOO_MANY_REQUESTS
    return too_many or error.exit_code is ExitCode.UNREACHABLE
