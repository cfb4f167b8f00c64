"""How texts are drawn: the fields that say it."""

from typing import Annotated, Literal

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    WithJsonSchema,
)

from api.schemas.fields import UUID_PATTERN
from shared.specs.generation import Schedule
from shared.specs.presets import SEED_LIMIT

MAX_TEMPERATURES = 16
MAX_STOPS = 4
MAX_STOP_CHARACTERS = 100
#: Which form a temperature has. The names stand in the place of an error, for nobody to see: no
#: field is called so.
FORMS = A_NUMBER, A_SCHEDULE = "a number", "a schedule"

Seed = Annotated[int, Field(ge=0, lt=SEED_LIMIT, description="chosen at random if not given")]
Temperature = Annotated[float, Field(ge=0, le=10, allow_inf_nan=False)]


def _one_or_more(value: object) -> object:
    return value if isinstance(value, list) else [value]


def _number_or_schedule(value: object) -> str:
    return A_SCHEDULE if isinstance(value, dict | Schedule) else A_NUMBER


class ScheduleRequest(Schedule):
    """A temperature that changes over the text."""

    model_config = ConfigDict(strict=True)


_TEMPERATURE = {"type": "number", "minimum": 0, "maximum": 10}
_SCHEDULE = {
    "type": "object",
    "properties": {"from": _TEMPERATURE, "to": _TEMPERATURE},
    "required": ["from", "to"],
    "additionalProperties": False,
}
_ONE_TEMPERATURE = {"anyOf": [_TEMPERATURE, _SCHEDULE]}
Temperatures = Annotated[
    list[
        Annotated[
            Annotated[Temperature, Tag(A_NUMBER)] | Annotated[ScheduleRequest, Tag(A_SCHEDULE)],
            Discriminator(_number_or_schedule),
        ]
    ],
    Field(min_length=1, max_length=MAX_TEMPERATURES),
    BeforeValidator(_one_or_more),
    WithJsonSchema(
        {
            "anyOf": [
                *_ONE_TEMPERATURE["anyOf"],
                {
                    "type": "array",
                    "items": _ONE_TEMPERATURE,
                    "minItems": 1,
                    "maxItems": MAX_TEMPERATURES,
                },
            ]
        }
    ),
]
_STOP = {"type": "string", "minLength": 1, "maxLength": MAX_STOP_CHARACTERS}
StopSequences = Annotated[
    list[Annotated[str, StringConstraints(min_length=1, max_length=MAX_STOP_CHARACTERS)]],
    Field(max_length=MAX_STOPS),
    BeforeValidator(_one_or_more),
    WithJsonSchema({"anyOf": [_STOP, {"type": "array", "items": _STOP, "maxItems": MAX_STOPS}]}),
]
CheckpointName = Annotated[str, StringConstraints(pattern=rf"^best$|^latest$|{UUID_PATTERN}")]
Unknown = Literal["error", "skip", "replace"]
