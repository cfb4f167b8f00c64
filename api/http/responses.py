"""Replies as HTTP answers."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from flask import Response
from pydantic import BaseModel

from api.http.openapi import JSON


def answer(
    reply: BaseModel, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """One thing."""
    return _response(reply.model_dump_json(exclude_unset=True), status, headers)


def answer_page(replies: Iterable[BaseModel], next_cursor: str | None) -> Response:
    """A page of a list."""
    items = ",".join(reply.model_dump_json(exclude_unset=True) for reply in replies)
    return _response(f'{{"items":[{items}],"next_cursor":{json.dumps(next_cursor)}}}', 200, None)


def answer_json(
    body: Mapping[str, Any], status: int, headers: Mapping[str, str] | None = None
) -> Response:
    """JSON that was a reply once."""
    return _response(json.dumps(body, ensure_ascii=False), status, headers)


def no_content() -> Response:
    """Nothing to say: it is done."""
    return Response(status=204)


def file(pieces: Iterable[bytes], size_bytes: int, content_type: str, name: str | None) -> Response:
    """Bytes, piece by piece; to be saved under `name` where that is given."""
    response = Response(pieces, content_type=content_type)
    response.content_length = size_bytes
    if name is not None:
        response.headers.set("Content-Disposition", "attachment", filename=name)
    return response


def _response(written: str, status: int, headers: Mapping[str, str] | None) -> Response:
    return Response(written, status=status, headers=dict(headers or {}), content_type=JSON)
