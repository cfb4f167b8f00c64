"""Rate limits: a token bucket per user for all requests, and a smaller one for those that create.

The buckets belong to the user and not to the key: a user who makes a new key gets no new bucket.
Requests without a key have buckets by address: those that redeem enrolments, and those that read by
a share link.
They are in this process's memory, so a restart fills them, and each API of several has its own.
The headers are those of draft-ietf-httpapi-ratelimit-headers (since its revision 08).
"""

import math

from flask import Response, g

from api.errors import TooManyRequests
from api.http.openapi import Handler
from api.http.request_body import CompleteRequest
from api.permissions import CurrentUser
from api.services import services
from api.token_buckets import WINDOW_SECONDS, Level

CREATES = "creates"
SHOWS_STRANGERS = "shows_strangers"


def creates(handler: Handler) -> Handler:
    """Mark a handler that creates something other than texts."""
    setattr(handler, CREATES, True)
    return handler


def shows_strangers(handler: Handler) -> Handler:
    """Mark a handler that shows something to whoever has its link, limited by address."""
    setattr(handler, SHOWS_STRANGERS, True)
    return handler


def check(current: CompleteRequest) -> None:
    """Count this request against the limits of its user, or of its address.

    Raises:
        TooManyRequests: The user, or an address without one, has sent too many.
    """
    user: CurrentUser | None = g.get("current_user")
    is_creation = hasattr(current.handler, CREATES)
    if user is None:
        # Nobody has signed in: an address stands for the user.
        address = f"address {current.remote_addr}"
        if is_creation:
            levels = [services().creations.take(address)]
        elif hasattr(current.handler, SHOWS_STRANGERS):
            levels = [services().requests.take(address)]
        else:
            return
    else:
        levels = [services().requests.take(user.id)]
        if is_creation and levels[0].wait_seconds is None:
            levels.append(services().creations.take(user.id))
    g.rate_limits = levels
    last = levels[-1]
    if last.wait_seconds is not None:
        what = "requests" if last.policy == "requests" else f"{current.method} requests that create"
        raise TooManyRequests(what, last.quota, math.ceil(last.wait_seconds))


def add_headers(response: Response) -> Response:
    """Tell the client what is left of its limits."""
    levels: list[Level] = g.get("rate_limits") or []
    if levels:
        response.headers["RateLimit-Policy"] = ", ".join(
            f'"{level.policy}";q={level.quota};w={WINDOW_SECONDS}' for level in levels
        )
        response.headers["RateLimit"] = ", ".join(
            f'"{level.policy}";r={level.remaining};t={math.ceil(level.full_seconds)}'
            for level in levels
        )
    return response
