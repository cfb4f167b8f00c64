"""``/openapi.json`` and ``/docs``: Swagger UI, served from the installed package alone."""

from pathlib import Path

import flask_openapi_swagger  # type: ignore[import-untyped]
from flask import Blueprint, Response, current_app, jsonify, send_from_directory

from api.http.authentication import allow_anonymous
from api.http.openapi import describe, returns_non_json

swagger_ui = Blueprint("docs", __name__)

ASSETS = Path(flask_openapi_swagger.__file__).parent / "templates" / "swagger"
DAY_SECONDS = 86_400
#: Swagger UI writes style attributes and draws its icons from data URLs.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'"
)
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <title>Quire API</title>
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


@swagger_ui.get("/openapi.json")
@allow_anonymous
@returns_non_json
def read_openapi() -> Response:
    """Return the OpenAPI document."""
    return jsonify(describe(current_app))


@swagger_ui.get("/docs")
@allow_anonymous
@returns_non_json
def read_docs() -> Response:
    """Return the Swagger UI page."""
    return Response(PAGE, mimetype="text/html", headers={"Content-Security-Policy": POLICY})


@swagger_ui.get("/docs/start.js")
@allow_anonymous
@returns_non_json
def read_start() -> Response:
    """Return the start script, a file of its own so that the policy allows no inline script."""
    return Response(START, mimetype="text/javascript")


@swagger_ui.get("/docs/<any(css,js,images):folder>/<name>")
@allow_anonymous
@returns_non_json
def read_asset(folder: str, name: str) -> Response:
    """Return a file of Swagger UI."""
    return send_from_directory(ASSETS / folder, name, max_age=DAY_SECONDS)
