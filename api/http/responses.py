"""Turn reply models into HTTP responses."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from flask import Response, request
from pydantic import BaseModel

from api.errors import TooManyDownloads
from api.front import NoSeat
from api.http.openapi import JSON
from api.permissions import current_user
from api.services import services

#: A download is sent in such pieces.
PIECE_BYTES = 256 * 1024


def json_response(
    reply: BaseModel, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return one reply."""
    return _response(reply.model_dump_json(exclude_unset=True), status, headers)


def page_response(replies: Iterable[BaseModel], next_cursor: str | None) -> Response:
    """Return one page of a list."""
    items = ",".join(reply.model_dump_json(exclude_unset=True) for reply in replies)
    return _response(f'{{"items":[{items}],"next_cursor":{json.dumps(next_cursor)}}}', 200, None)


def raw_json_response(
    body: Mapping[str, Any], status: int, headers: Mapping[str, str] | None = None
) -> Response:
    """Return a reply that is a JSON object already."""
    return _response(json.dumps(body, ensure_ascii=False), status, headers)


def no_content() -> Response:
    """Return an empty 204 response."""
    return Response(status=204)


def file_response(
    chunks: Iterable[bytes], size_bytes: int, content_type: str, filename: str | None
) -> Response:
    """Return a file in chunks; `filename` makes it a download of that name.

    Raises:
        TooManyDownloads: All seats are taken, and nobody holds more of them than this user.
    """
    seats = services().download_seats
    try:
        seat = seats.take(current_user().id)
    except NoSeat:
        raise TooManyDownloads(seats.count) from None

    slots, sender = services().request_slots, request.headers.get("Authorization", "")

    def until_revoked() -> Iterator[bytes]:
        # The client notices: it gets fewer bytes than announced.
        remaining = iter(chunks)
        while not seat.revoked.is_set():
            # Dozens of downloads that begin at once must not be faster than others' requests.
            with slots.held(sender):
                chunk = next(remaining, None)
            if chunk is None:
                return
            # A larger piece would be buffered in a file.
            for start in range(0, len(chunk), PIECE_BYTES):
                yield chunk[start : start + PIECE_BYTES]

    response = Response(until_revoked(), content_type=content_type)
    response.call_on_close(lambda: seats.leave(seat))
    response.content_length = size_bytes
    if filename is not None:
        response.headers.set("Content-Disposition", "attachment", filename=filename)
    return response


def _response(body: str, status: int, headers: Mapping[str, str] | None) -> Response:
    return Response(body, status=status, headers=dict(headers or {}), content_type=JSON)
