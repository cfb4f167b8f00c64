"""What may be asked of a generation, and of a score."""

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from api.schemas.fields import Id, Name
from api.schemas.requests import SchedulingOptions, Request
from api.schemas.sampling import CheckpointName, Seed, StopSequences, Temperatures, Unknown

MAX_LENGTH = 100_000
MAX_TEXTS_EACH = 64
MAX_PROMPT_CHARACTERS = 100_000
#: Of one job: of each text, by texts, by temperatures.
MAX_TOTAL_TOKENS = 1_000_000
#: Of one job: log-probabilities take several times the room of the text.
MAX_LOGPROBS = 100_000
MAX_TOP_K = 1_000_000
MAX_REPETITION_PENALTY = 10


class GenerateRequest(SchedulingOptions):
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
        "punctuation and what it spells; all texts of a job may have "
        f"{MAX_TOTAL_TOKENS:,} together",
    )
    temperature: Temperatures = Field(
        [0.5],
        description="one or a list, each with texts of its own; 0 always takes the likeliest "
        "token. `{from, to}` is a temperature that goes from the one at the first token to the "
        "other at the last, in equal steps",
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
        description="divides the probability of what is among the last 64 tokens, the prompt's "
        "included, before the temperature",
    )
    n: int = Field(
        1,
        ge=1,
        le=MAX_TEXTS_EACH,
        description="texts for each temperature, as far as `length` lets a job write",
    )
    stop: StopSequences = Field(
        [],
        description="a text ends before the first of these that it comes upon; a string or a "
        "list of up to 4",
    )
    seed: Seed | None = None
    echo: bool = Field(False, description="show each text with its prompt before it")
    logprobs: bool = Field(
        False,
        description="tell of each token the natural logarithm of the probability that the "
        "network gave it, before temperature and limits; a job may tell those of "
        f"{MAX_LOGPROBS:,} tokens: `length` times its texts",
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
        description="it is read from its first token on, which is not judged itself"
    )
    logprobs: bool = Field(False, description="tell of each token, not only of all together")
    unknown: Unknown = Field(
        "error", description="as for `POST /v1/generate`, of the characters of the text"
    )
    name: Name | None = Field(None, description="the model's name if not given")
