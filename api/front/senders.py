"""Whose a request is: a key's, a browser session's, or an address's."""

import re

#: The name of a session's cookie holds the port, since browsers share cookies among ports.
SESSION_COOKIE = re.compile(r"(?:^|;) *(quire_session_\d{1,5})=([A-Za-z0-9_-]{1,100})(?=;|$)")


def session_tokens(cookie: str) -> dict[str, str]:
    """Return the tokens of the session cookies in a Cookie header, by the cookies' names."""
    return dict(SESSION_COOKIE.findall(cookie))


def name_sender(authorization: str | None, cookie: str | None, address: str) -> str:
    """Name the sender of a request, as requests take turns by sender."""
    if authorization:
        return authorization
    token = next(iter(session_tokens(cookie or "").values()), None)
    return address if token is None else f"session {token}"
