"""Request bodies of generations and scores."""

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from api.schemas.fields import Id, Name
from api.schemas.requests import Request, SchedulingOptions
from api.schemas.sampling import (
    MAX_TEMPERATURES,
    CheckpointName,
    Seed,
    StopSequences,
    Temperature,
    Temperatures,
    UnknownCharacters,
    as_list,
)

MAX_LENGTH = 100_000
MAX_TEXTS_PER_TEMPERATURE = 64
#: Of a model of items, which are short.
MAX_ITEMS_PER_TEMPERATURE = 10_000
MAX_PROMPT_CHARACTERS = 100_000
MAX_NEXT_TOKENS = 1000
#: Longer texts are uploaded, and scored as a corpus.
MAX_SCORED_CHARACTERS = 1_000_000
#: Per job: length times texts times temperatures.
MAX_TOTAL_TOKENS = 1_000_000
#: Per job: log-probabilities take several times the space of the text.
MAX_LOGPROBS = 100_000
MAX_TOP_LOGPROBS = 10
MAX_TOP_K = 1_000_000
MAX_REPETITION_PENALTY = 10


class GenerateRequest(SchedulingOptions):
    """Write texts with a model."""

    model: Id
    checkpoint: CheckpointName = Field(
        "best",
        description="`best` (lowest validation loss), `latest`, or the id of a checkpoint of this "
        "model. The first two are resolved when the job starts",
    )
    prompt: Annotated[str, StringConstraints(max_length=MAX_PROMPT_CHARACTERS)] | None = Field(
        None,
        description="start of the text; a random piece of the corpus by default. A model of items "
        "begins at an item's beginning by default, or with an empty prompt. Otherwise required if "
        "you may not see the model's corpus, unless its owner allows excerpts",
    )
    prompt_from: Literal["corpus"] | None = Field(
        None,
        description="`corpus`: each text starts with its own piece of the corpus, chosen by its "
        "seed. This is the default without a `prompt`",
    )
    length: int = Field(
        400,
        ge=1,
        le=MAX_LENGTH,
        description="tokens per text: characters, or for a word model words, punctuation and the "
        "characters of spelled words. All texts of a job may have "
        f"{MAX_TOTAL_TOKENS:,} together. Items end by themselves before it. By default 400, or of "
        "many items as many as they may have",
    )
    temperature: Temperatures = Field(
        [0.5],
        description="one value or a list; each gets its own texts. 0 always takes the most likely "
        "token. `{from, to}` changes linearly from the first token to the last",
    )
    top_k: int | None = Field(
        None, ge=1, le=MAX_TOP_K, description="sample from the k most likely tokens only"
    )
    top_p: float | None = Field(
        None,
        gt=0,
        le=1,
        description="sample from the most likely tokens that make up this probability",
    )
    repetition_penalty: float = Field(
        1.0,
        ge=1,
        le=MAX_REPETITION_PENALTY,
        description="divides the probability of every token among the last 64, including the "
        "prompt's, before the temperature",
    )
    n: int = Field(
        1,
        ge=1,
        le=MAX_ITEMS_PER_TEMPERATURE,
        description="texts per temperature, within the limit on tokens under `length`: at most "
        f"{MAX_TEXTS_PER_TEMPERATURE}, or items at most {MAX_ITEMS_PER_TEMPERATURE:,}",
    )
    stop: StopSequences = Field(
        [],
        description="end a text before the first occurrence of one of these; a string or a list of "
        "up to 4",
    )
    seed: Seed | None = None
    echo: bool = Field(False, description="include the prompt in each text")
    logprobs: bool = Field(
        False,
        description="return the natural logarithm of each token's probability, before temperature "
        f"and top_k or top_p. A job may return those of {MAX_LOGPROBS:,} tokens: `length` times "
        "its texts",
    )
    top_logprobs: int = Field(
        0,
        ge=0,
        le=MAX_TOP_LOGPROBS,
        description="also return that many of the likeliest tokens in the place of each, with "
        f"their log-probabilities; `logprobs` then come too. A job may return {MAX_LOGPROBS:,} of "
        "them",
    )
    copied_spans: bool = Field(
        False,
        description="return which pieces of each text stand in the model's corpus, if you may read "
        "it or its owner allows excerpts",
    )
    unknown: UnknownCharacters = Field(
        "error",
        description="how to handle a character of the prompt that the model does not know: "
        "refuse the request, skip the character, or replace it by a space (by a line end or the "
        "vocabulary's first character if the model knows no space)",
    )
    name: Name | None = Field(None, description="the model's name by default")

    @model_validator(mode="after")
    def _check_prompt(self) -> Self:
        if self.prompt is not None and self.prompt_from is not None:
            raise ValueError(
                'must not have both prompt and prompt_from: "corpus". Leave one of them out'
            )
        return self


class ScoreRequest(Request):
    """Score the likelihood of a text under a model: of `text`, or of a `corpus`."""

    model: Id
    checkpoint: CheckpointName = Field("best", description="as for `POST /v1/generate`")
    text: (
        Annotated[str, StringConstraints(min_length=2, max_length=MAX_SCORED_CHARACTERS)] | None
    ) = Field(
        None,
        description="the text to score. Its first token is read but not scored. One of more than "
        f"{MAX_PROMPT_CHARACTERS:,} characters is kept as a private corpus of yours, which the job "
        "names",
    )
    corpus: Id | None = Field(
        None, description="a corpus to score instead of `text`, however long it is"
    )
    logprobs: bool = Field(
        False,
        description="also return the log-probability of each token, of a text of up to "
        f"{MAX_LOGPROBS:,} characters",
    )
    unknown: UnknownCharacters = Field(
        "error", description="as for `POST /v1/generate`, for the characters of the text"
    )
    name: Name | None = Field(None, description="the model's name by default")


class NextRequest(Request):
    """Tell which tokens may follow a prompt."""

    model: Id
    checkpoint: CheckpointName = Field("best", description="as for `POST /v1/generate`")
    prompt: Annotated[str, StringConstraints(max_length=MAX_PROMPT_CHARACTERS)] = Field(
        description="what is to be continued; empty for the beginning of an item"
    )
    temperature: Annotated[
        list[Temperature],
        Field(min_length=1, max_length=MAX_TEMPERATURES),
        BeforeValidator(as_list),
    ] = Field(
        [1.0],
        description="one value or a list; each gets a distribution. 0 leaves the likeliest token "
        "alone, 1 is the network's own distribution",
        json_schema_extra={
            "anyOf": [
                {"type": "number", "minimum": 0, "maximum": 10},
                {
                    "type": "array",
                    "items": {"type": "number", "minimum": 0, "maximum": 10},
                    "minItems": 1,
                    "maxItems": MAX_TEMPERATURES,
                },
            ]
        },
    )
    top: int = Field(
        20, ge=1, le=MAX_NEXT_TOKENS, description="how many of the likeliest tokens are listed"
    )
    unknown: UnknownCharacters = Field("error", description="as for `POST /v1/generate`")
    name: Name | None = Field(None, description="the model's name by default")
