"""The cookie of a browser's session, and the header that proves that the page sent a request.

A browser adds the cookie to whatever request it is made to send, so that a request that changes
something also needs the CSRF token, which another site can't read. A key needs none of this.
"""

import hmac
from datetime import datetime
from urllib.parse import urlsplit

from flask import Response, request

from api.errors import Forbidden
from api.front import session_tokens
from api.permissions import CurrentUser
from shared import sessions

CSRF_HEADER = "X-CSRF-Token"
#: Only the API reads the cookie.
PATH = "/v1"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_PORTS = {"http": 80, "https": 443}


def cookie_name() -> str:
    """Name this server's cookie, after the port that the browser uses."""
    try:
        port = urlsplit(f"//{request.host}").port
    except ValueError:
        port = None
    return f"quire_session_{port or _PORTS.get(request.scheme, 80)}"


def token_of_request() -> str | None:
    """Return the token of this request's session cookie; None if it has none.

    A session is for the page's own API: addresses that other programs speak take keys alone.
    """
    if not request.path.startswith(f"{PATH}/"):
        return None
    return session_tokens(request.headers.get("Cookie", "")).get(cookie_name())


def check_csrf(user: CurrentUser) -> None:
    """Refuse a request of a session that changes something and was not sent by the page.

    Raises:
        Forbidden: The header is missing or wrong.
    """
    token = None if user.session is None else token_of_request()
    if token is None or request.method in SAFE_METHODS:
        return
    given = request.headers.get(CSRF_HEADER, "")
    if not hmac.compare_digest(given.encode(), sessions.csrf_token(token).encode()):
        raise Forbidden(
            f"the header {CSRF_HEADER} is missing or wrong: a request with a session's cookie "
            "needs the `csrf_token` of GET /v1/session. Reload the page, or send an API key"
        )


def set_cookie(response: Response, token: str, expires_at: datetime) -> None:
    """Give the browser its session's cookie, which scripts can't read."""
    response.set_cookie(
        cookie_name(),
        token,
        expires=expires_at,
        path=PATH,
        secure=request.is_secure,
        httponly=True,
        samesite="Strict",
    )


def clear_cookie(response: Response) -> None:
    """Take the cookie away."""
    response.delete_cookie(
        cookie_name(), path=PATH, secure=request.is_secure, httponly=True, samesite="Strict"
    )
