"""Field types for sampling texts."""

from typing import Annotated

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
from shared.texts.vocabulary import OnUnknown

MAX_TEMPERATURES = 16
MAX_STOPS = 4
MAX_STOP_CHARACTERS = 100
#: Tags for the two forms of a temperature. They appear in the location of a pydantic error, where
#: they are filtered out: no field has such a name.
TEMPERATURE_FORMS = NUMBER, SCHEDULE = "a number", "a schedule"

Seed = Annotated[int, Field(ge=0, lt=SEED_LIMIT, description="random by default")]
Temperature = Annotated[float, Field(ge=0, le=10, allow_inf_nan=False)]


def as_list(value: object) -> object:
    """Take one value for a list of it."""
    return value if isinstance(value, list) else [value]


def _number_or_schedule(value: object) -> str:
    return SCHEDULE if isinstance(value, dict | Schedule) else NUMBER


class ScheduleRequest(Schedule):
    """A temperature that changes linearly over the text."""

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
            Annotated[Temperature, Tag(NUMBER)] | Annotated[ScheduleRequest, Tag(SCHEDULE)],
            Discriminator(_number_or_schedule),
        ]
    ],
    Field(min_length=1, max_length=MAX_TEMPERATURES),
    BeforeValidator(as_list),
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
    BeforeValidator(as_list),
    WithJsonSchema({"anyOf": [_STOP, {"type": "array", "items": _STOP, "maxItems": MAX_STOPS}]}),
]
CheckpointName = Annotated[str, StringConstraints(pattern=rf"^best$|^latest$|{UUID_PATTERN}")]
UnknownCharacters = OnUnknown
