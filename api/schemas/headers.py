"""What the headers of a request may say.

Flask gives them all; those not named here are for somebody else.
"""

from typing import Annotated

from pydantic import Field, StringConstraints

from api.schemas.fields import Read


class IdempotencyHeader(Read):
    """The header of a POST that makes something."""

    idempotency_key: (
        Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[\x21-\x7e]+$")]
        | None
    ) = Field(
        None,
        alias="Idempotency-Key",
        description="Any text of your choice. The same request again within 24 hours makes "
        "nothing new and answers as the first did; another body with it is refused with 409.",
    )


class IdempotencyAndPreferHeaders(IdempotencyHeader):
    """The headers of ``POST /v1/generate``."""

    prefer: str | None = Field(
        None,
        alias="Prefer",
        description="`wait=N`: answer 200 with the texts if they are there within N seconds. "
        "Bounded by the server, and answered 202 at once while too many others wait.",
    )


class LastEventIdHeader(Read):
    """The header of a stream of events that is followed again."""

    last_event_id: (
        Annotated[str, StringConstraints(pattern=r"^\d{1,10}-(\d{1,20}|end\d{0,20})$")] | None
    ) = Field(None, alias="Last-Event-ID", description="the `id` of the last event that came")
