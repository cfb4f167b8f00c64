"""What a request may say, each thing in one place. What is not here is refused."""

from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    WithJsonSchema,
    create_model,
    model_validator,
)
from pydantic.fields import FieldInfo

from api.schemas.fields import (
    NO_CONTROL_CHARACTERS,
    UUID_FORM,
    Described,
    Id,
    Moment,
    Name,
    Priority,
    Read,
    Role,
)
from shared.presets import SEED_LIMIT, Budget, PresetName, SampleSpec, Schedule, TrainNumbers
from shared.tables import Corpus, Model

MAX_LENGTH = 100_000
MAX_TEXTS_EACH = 64
MAX_TEMPERATURES = 16
MAX_PROMPT_CHARACTERS = 100_000
#: Of one job: tokens of each text, by texts, by temperatures.
MAX_TOTAL_CHARACTERS = 1_000_000
MAX_TOP_K = 1_000_000
MAX_DEADLINE_SECONDS = 366 * 24 * 3600
MAX_SHARE = 1000
MAX_REPETITION_PENALTY = 10
MAX_STOPS = 4
MAX_STOP_CHARACTERS = 100
#: Log-probabilities take several times the room of the text.
MAX_LOGPROBS = 100_000

Seed = Annotated[int, Field(ge=0, lt=SEED_LIMIT, description="chosen at random if not given")]
Temperature = Annotated[float, Field(ge=0, le=10, allow_inf_nan=False)]


def _no_default(schema: dict[str, Any]) -> None:
    # Left out it is not this: a schema must not say so.
    schema.pop("default", None)


def _one_or_more(value: object) -> object:
    return value if isinstance(value, list) else [value]


def _number_or_schedule(value: object) -> str:
    return "schedule" if isinstance(value, dict | Schedule) else "number"


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
#: Which form a temperature has. The names stand in the place of an error, for nobody to see.
FORMS = frozenset({"number", "schedule"})
Temperatures = Annotated[
    list[
        Annotated[
            Annotated[Temperature, Tag("number")] | Annotated[ScheduleRequest, Tag("schedule")],
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
Stops = Annotated[
    list[Annotated[str, StringConstraints(min_length=1, max_length=MAX_STOP_CHARACTERS)]],
    Field(max_length=MAX_STOPS),
    BeforeValidator(_one_or_more),
    WithJsonSchema({"anyOf": [_STOP, {"type": "array", "items": _STOP, "maxItems": MAX_STOPS}]}),
]
CheckpointName = Annotated[str, StringConstraints(pattern=rf"^best$|^latest$|{UUID_FORM}")]
Unknown = Literal["error", "skip", "replace"]


class Request(BaseModel):
    """The base of every JSON body: unknown fields and wrong types are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


# Headers. Flask gives them all; those not named here are for somebody else.


class Once(Read):
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


class OnceAndWait(Once):
    """The headers of ``POST /v1/generate``."""

    prefer: str | None = Field(
        None,
        alias="Prefer",
        description="`wait=N`: answer 200 with the texts if they are there within N seconds. "
        "Bounded by the server, and answered 202 at once while too many others wait.",
    )


class Resumed(Read):
    """The header of a stream of events that is followed again."""

    last_event_id: (
        Annotated[str, StringConstraints(pattern=r"^\d{1,10}-(end)?\d{1,20}$")] | None
    ) = Field(None, alias="Last-Event-ID", description="the `id` of the last event that came")


# Corpora.


class UploadJson(Request):
    """A text as JSON."""

    name: Name
    text: str = Field(min_length=1)
    visibility: Described = "private"


class Change(Request):
    """A new name, a new visibility, or both."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    name: Name = Field("", json_schema_extra=_no_default)
    visibility: Described = Field("private", json_schema_extra=_no_default)

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("must have a name, a visibility, or both")
        return self

    def apply(self, row: Corpus | Model) -> None:
        """Change a row as the request says."""
        for field in self.model_fields_set:
            setattr(row, field, getattr(self, field))


# Jobs.


class SampleRequest(SampleSpec):
    """Texts written while a network learns."""

    model_config = ConfigDict(strict=True)


class BudgetRequest(Budget):
    """How long to train, instead of `epochs`."""

    model_config = ConfigDict(strict=True)


class Ordered(Request):
    """When a job may run, and for how long."""

    priority: Priority = Field("normal", description="orders your own jobs of a kind only")
    after: Id | None = Field(
        None,
        description="a job of yours that this one waits for; where that fails, this one fails too",
    )
    start_before: Moment | None = Field(
        None, description="it fails if it has not started by this time"
    )
    deadline_seconds: float | None = Field(
        None,
        gt=0,
        le=MAX_DEADLINE_SECONDS,
        allow_inf_nan=False,
        description="it fails once it has run for so long; checkpoints and texts so far are kept",
    )


class TrainBase(Ordered):
    """What a training is asked for beside its numbers."""

    corpus: Id
    from_checkpoint: Id | None = Field(
        None,
        alias="from",
        description="a checkpoint to begin from, of any model that you may use. Numbers that are "
        "not given are then its own, those of the network can't be others, and `epochs` count "
        "from there. On the same text with nothing changed but the length, and a constant rate, "
        "the training goes on to the bit; else it takes the weights and begins a new schedule. "
        "Characters of another text that are new get rows of their own.",
    )
    preset: PresetName = "default"
    name: Name | None = Field(None, description="of the model and of the job")
    visibility: Described = "private"
    seed: Seed | None = None
    budget: BudgetRequest | None = Field(
        None, description="instead of `epochs`", json_schema_extra=_no_default
    )
    sample: SampleRequest | None = Field(
        None,
        description="texts to write while it learns; null for none; the preset's if not given",
        json_schema_extra=_no_default,
    )


def _optional(name: str, field: FieldInfo, annotation: Any = None) -> Any:
    # Left out it is the preset's, so it has no default that a schema could show.
    about = Field(
        description=field.description or name.replace("_", " "), json_schema_extra=_no_default
    )
    return Annotated[annotation or field.annotation, *field.metadata, about], None


_NUMBERS = TrainNumbers.model_fields
#: Every number of a preset, each within the bounds that shared/presets.py gives it.
TrainRequest = create_model(
    "TrainRequest",
    __base__=TrainBase,
    __doc__="A network to train on a corpus: a preset, and any of its numbers to change.",
    **{name: _optional(name, field) for name, field in _NUMBERS.items()}
    # Null would be a training without an end.
    | {"epochs": _optional("epochs", _NUMBERS["epochs"], int)},
)


class GenerateRequest(Ordered):
    """Texts to write with a model."""

    model: Id
    checkpoint: CheckpointName = Field(
        "best",
        description="`best` (the least validation loss), `latest`, or the id of a checkpoint of "
        "this model; a name is looked up when the job starts",
    )
    prompt: (
        Annotated[str, StringConstraints(min_length=1, max_length=MAX_PROMPT_CHARACTERS)] | None
    ) = Field(None, description="how the text begins; a random piece of the corpus if not given")
    prompt_from: Literal["corpus"] | None = Field(
        None,
        description="`corpus`: each text begins with a piece of its own, which its seed decides; "
        "what is done anyway where there is no `prompt`",
    )
    length: int = Field(
        400,
        ge=1,
        le=MAX_LENGTH,
        description="tokens of each text: characters, or with a model of words its words, "
        "punctuation and what it spells",
    )
    temperature: Temperatures = Field(
        [0.5],
        description="one or a list, each with texts of its own; 0 always takes the likeliest "
        "character. `{from, to}` is a temperature that goes from the one at the first character "
        "to the other at the last, in equal steps",
    )
    top_k: int | None = Field(
        None, ge=1, le=MAX_TOP_K, description="draw from the k likeliest tokens only"
    )
    top_p: float | None = Field(
        None, gt=0, le=1, description="draw from the likeliest tokens that make up this share"
    )
    repetition_penalty: float = Field(
        1.0,
        ge=1,
        le=MAX_REPETITION_PENALTY,
        description="divides the probability of what is among the last 64 characters, the prompt's "
        "included, before the temperature",
    )
    n: int = Field(1, ge=1, le=MAX_TEXTS_EACH, description="texts for each temperature")
    stop: Stops = Field(
        [],
        description="a text ends before the first of these that it comes upon; a string or a "
        "list of up to 4",
    )
    seed: Seed | None = None
    echo: bool = Field(False, description="show each text with its prompt before it")
    logprobs: bool = Field(
        False,
        description="tell of each character the natural logarithm of the probability that the "
        "network gave it, before temperature and limits",
    )
    unknown: Unknown = Field(
        "error",
        description="what to do with a character of the prompt that the model does not know: "
        "refuse it, leave it out, or put a space there (a line end, else the vocabulary's first "
        "character, where the model knows no space)",
    )
    name: Name | None = Field(None, description="the model's name if not given")

    @model_validator(mode="after")
    def _one_beginning(self) -> Self:
        if self.prompt is not None and self.prompt_from is not None:
            raise ValueError('has both a prompt and prompt_from: "corpus": leave one of them out')
        return self


class ScoreRequest(Request):
    """A text whose likelihood a model is to tell."""

    model: Id
    checkpoint: CheckpointName = Field("best", description="as for `POST /v1/generate`")
    text: Annotated[str, StringConstraints(min_length=2, max_length=MAX_PROMPT_CHARACTERS)] = Field(
        description="it is read from its first character on, which is not judged itself"
    )
    logprobs: bool = Field(False, description="tell of each character, not only of all together")
    unknown: Unknown = Field(
        "error", description="as for `POST /v1/generate`, of the characters of the text"
    )
    name: Name | None = Field(None, description="the model's name if not given")


# People.


class NewUser(Request):
    """A user to be."""

    name: str = Field(min_length=1, max_length=100, pattern=NO_CONTROL_CHARACTERS)
    role: Role = "member"


class NewApiKey(Request):
    """A key to be."""

    name: Annotated[Name, Field(max_length=100)] = "default"


def _cap(most: float, what: str) -> Any:
    return Field(
        None,
        ge=0,
        le=most,
        description=f"{what}; null for the server's default",
        json_schema_extra=_no_default,
    )


class NewCaps(Request):
    """What one user may have; a field that is left out stays as it is."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    share: float = Field(
        1.0,
        gt=0,
        le=MAX_SHARE,
        allow_inf_nan=False,
        description="twice the share is twice the device time while all have work",
        json_schema_extra=_no_default,
    )
    max_running: int | None = _cap(1000, "trainings that run at once")
    max_queued: int | None = _cap(1_000_000, "jobs that wait or are paused")
    max_device_seconds_per_day: float | None = _cap(1e9, "device time in a day")
    max_stored_bytes: int | None = _cap(2**60, "bytes of corpora and checkpoints")
    max_corpora_bytes: int | None = _cap(2**60, "bytes of corpora")

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("must have a share or a cap")
        return self
