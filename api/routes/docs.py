"""``/openapi.json``, and ``/docs``: Swagger UI from the installed package, no address outside."""

from pathlib import Path

import flask_openapi_swagger  # type: ignore[import-untyped]
from flask import Blueprint, Response, current_app, jsonify, send_from_directory

from api.authentication import open_to_all
from api.http.openapi import describe, gives_other_than_json

docs = Blueprint("docs", __name__)

ASSETS = Path(flask_openapi_swagger.__file__).parent / "templates" / "swagger"
DAY_SECONDS = 86_400
#: Swagger UI writes style attributes, and draws its icons from data addresses.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'"
)
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <title>Quire: the API</title>
  <link rel="icon" href="/docs/images/swagger.svg">
  <link rel="stylesheet" href="/docs/css/swagger-ui.css">
</head>
<body>
  <div id="docs"></div>
  <script src="/docs/js/swagger-ui-bundle.js"></script>
  <script src="/docs/start.js"></script>
</body>
</html>
"""
START = """SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#docs",
  deepLinking: true,
  presets: [SwaggerUIBundle.presets.apis],
});
"""


@docs.get("/openapi.json")
@open_to_all
@gives_other_than_json
def read_description() -> Response:
    """The description of the API."""
    return jsonify(describe(current_app))


@docs.get("/docs")
@open_to_all
@gives_other_than_json
def read_docs() -> Response:
    """The page."""
    return Response(PAGE, mimetype="text/html", headers={"Content-Security-Policy": POLICY})


@docs.get("/docs/start.js")
@open_to_all
@gives_other_than_json
def read_start() -> Response:
    """What starts the page: a script of its own, so that no inline script need be allowed."""
    return Response(START, mimetype="text/javascript")


@docs.get("/docs/<any(css,js,images):folder>/<name>")
@open_to_all
@gives_other_than_json
def read_asset(folder: str, name: str) -> Response:
    """A file of Swagger UI."""
    return send_from_directory(ASSETS / folder, name, max_age=DAY_SECONDS)
