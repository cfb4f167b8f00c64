"""Writes the OpenAPI document for the page's types: `make web`."""

import json
import sys

from api.app import create_app
from api.http.openapi import describe
from shared.settings import load_settings


def main() -> None:
    """Write the document to standard output. No server is reached."""
    settings = load_settings(redis_url="redis://127.0.0.1:1", database_url="sqlite:////dev/null")
    json.dump(describe(create_app(settings)), sys.stdout, sort_keys=True)


if __name__ == "__main__":
    main()
