"""Request headers that the API reads. All others are ignored."""

from typing import Annotated

from pydantic import Field, StringConstraints

from api.schemas.fields import UUID_PATTERN, RequestPart

EVENT_ID = r"\d{1,10}-(\d{1,20}|end\d{0,20})"
_PLACE = UUID_PATTERN.strip("^$").replace("A-F", "") + f":{EVENT_ID}"
#: The id of an event of several jobs: the place in the stream of each.
EventIds = Annotated[str, StringConstraints(max_length=2000, pattern=f"^{_PLACE}(,{_PLACE})*$")]


class IdempotencyHeader(RequestPart):
    """The header of a POST that creates a resource."""

    idempotency_key: (
        Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[\x21-\x7e]+$")]
        | None
    ) = Field(
        None,
        alias="Idempotency-Key",
        description="Any text of your choice. Repeating the request within 24 hours creates "
        "nothing and returns the first response. A different request with the same key is refused "
        "with 409.",
    )


class IdempotencyAndPreferHeaders(IdempotencyHeader):
    """The headers of ``POST /v1/generate`` and ``POST /v1/score``."""

    prefer: str | None = Field(
        None,
        alias="Prefer",
        description="`wait=N`: respond with 200 and the texts if the job ends within N seconds. "
        "The server caps N, and responds with 202 at once while too many requests wait.",
    )


class LastEventIdHeader(RequestPart):
    """The header that resumes an event stream."""

    last_event_id: Annotated[str, StringConstraints(pattern=f"^{EVENT_ID}$")] | None = Field(
        None, alias="Last-Event-ID", description="the `id` of the last event received"
    )


class LastEventIdsHeader(RequestPart):
    """The header that resumes an event stream of several jobs."""

    last_event_id: EventIds | None = Field(
        None, alias="Last-Event-ID", description="the `id` of the last event received"
    )
