"""CORS: let pages of other origins speak to the API with a key.

A page of another origin never gets in with a cookie. No answer allows credentials, a cookie that
comes from one is dropped before the application sees it, and none is set.
"""

import re
from collections.abc import Callable, Collection, Iterable
from typing import Any

Application = Callable[[dict[str, Any], Any], Iterable[bytes]]
Headers = list[tuple[str, str]]

PREFIXES = ("/v1", "/openai/v1")
METHODS = "GET, HEAD, POST, PATCH, DELETE"
#: What a script of another origin may read of an answer, beside what it always may.
EXPOSED = (
    "Content-Disposition", "Content-Length", "Idempotency-Replayed", "Location",
    "Preference-Applied", "RateLimit", "RateLimit-Policy", "Retry-After", "WWW-Authenticate",
    "X-Request-Id", "x-should-retry",
)  # fmt: skip
#: As long as any browser keeps the answer to a preflight.
MAX_AGE_SECONDS = 7200
#: Names of headers, as a preflight lists them.
_NAMES = re.compile(r"[\w!#$%&'*+.^`|~-]+(\s*,\s*[\w!#$%&'*+.^`|~-]+)*", re.ASCII)
MAX_NAMES_CHARACTERS = 2048


class CrossOrigin:
    """WSGI middleware that answers preflights itself, before any key or row is looked at.

    Args:
        application: The WSGI application.
        origins: The origins that may speak to the API, such as `https://notes.example`.
    """

    def __init__(self, application: Application, origins: Collection[str]) -> None:
        self._application = application
        self._origins = frozenset(origins)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Handle one request."""
        if not _is_api(environ.get("PATH_INFO", "")):
            return self._application(environ, start_response)
        origin = environ.get("HTTP_ORIGIN")
        if origin not in self._origins or origin == _own_origin(environ):
            return self._application(environ, _with([("Vary", "Origin")], start_response))
        allowed = [("Access-Control-Allow-Origin", origin), ("Vary", "Origin")]
        if _is_preflight(environ):
            start_response("204 No Content", [*allowed, *_permissions(environ)])
            return []
        environ.pop("HTTP_COOKIE", None)
        exposed = ("Access-Control-Expose-Headers", ", ".join(EXPOSED))
        return self._application(
            environ, _with([*allowed, exposed], start_response, without="set-cookie")
        )


def _is_api(path: str) -> bool:
    return any(path == prefix or path.startswith(f"{prefix}/") for prefix in PREFIXES)


def _own_origin(environ: dict[str, Any]) -> str:
    return f"{environ['wsgi.url_scheme']}://{environ.get('HTTP_HOST', '')}"


def _is_preflight(environ: dict[str, Any]) -> bool:
    asks = "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in environ
    return environ["REQUEST_METHOD"] == "OPTIONS" and asks


def _permissions(environ: dict[str, Any]) -> Headers:
    """What a preflight's origin may send.

    Any header that it names: keys alone let a request in, and clients send headers of their own.
    """
    found = [
        ("Access-Control-Allow-Methods", METHODS),
        ("Access-Control-Max-Age", str(MAX_AGE_SECONDS)),
    ]
    names = environ.get("HTTP_ACCESS_CONTROL_REQUEST_HEADERS", "")
    if len(names) <= MAX_NAMES_CHARACTERS and _NAMES.fullmatch(names):
        found.append(("Access-Control-Allow-Headers", names))
    if environ.get("HTTP_ACCESS_CONTROL_REQUEST_PRIVATE_NETWORK") == "true":
        found.append(("Access-Control-Allow-Private-Network", "true"))
    return found


def _with(more: Headers, start_response: Any, without: str | None = None) -> Any:
    def start(status: str, headers: Headers, *error: Any) -> Any:
        kept = [each for each in headers if each[0].lower() != without]
        return start_response(status, [*kept, *more], *error)

    return start
