"""The page: the built bundle of ``web/``, at ``/`` and below the addresses that it knows itself."""

import functools
import hashlib
from pathlib import Path

from flask import Blueprint, Response, request, send_from_directory

from api.http.authentication import allow_anonymous
from api.http.openapi import returns_non_json

page = Blueprint("page", __name__)

STATIC = Path(__file__).parents[1] / "static"
ASSETS = STATIC / "assets"
#: An asset's name holds a hash of its content, so that its content never changes.
YEAR_SECONDS = 31_536_000
#: The page has no inline script or style, and asks only this server.
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)


def read_page(**_ids: str) -> Response:
    """Return the page, which shows the view of its address."""
    body, tag = _index()
    response = Response(body, mimetype="text/html")
    response.set_etag(tag)
    response.headers["Cache-Control"] = "no-cache"
    response.headers["Content-Security-Policy"] = POLICY
    response.make_conditional(request)
    return response


@functools.cache
def _index() -> tuple[bytes, str]:
    body = (STATIC / "index.html").read_bytes()
    return body, hashlib.sha256(body).hexdigest()[:20]


#: The addresses of the page's views, as in web/src/router.ts.
for _rule in (
    "/",
    "/sign-in",
    "/library",
    "/teach",
    "/watch",
    "/watch/<job>",
    "/write",
    "/write/<model>",
    "/server",
    "/server/<part>",
    "/shared",
):
    page.add_url_rule(_rule, view_func=allow_anonymous(returns_non_json(read_page)))


@page.get("/assets/<name>")
@allow_anonymous
@returns_non_json
def read_asset(name: str) -> Response:
    """Return a script, a style sheet or the icon."""
    response = send_from_directory(ASSETS, name, max_age=YEAR_SECONDS)
    response.headers["Cache-Control"] = f"public, max-age={YEAR_SECONDS}, immutable"
    return response
