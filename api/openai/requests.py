"""What the requests for texts may say.

Null is the same as leaving a field out. What does not change a text is accepted and ignored. What
would change it, and can't be done, is refused unless it has the value that changes nothing.
"""

from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

from api.errors import Invalid
from api.openai.model_ids import NamedModel
from api.schemas import generation
from api.schemas.generation import (
    MAX_LENGTH,
    MAX_PROMPT_CHARACTERS,
    MAX_REPETITION_PENALTY,
    MAX_TEXTS_PER_TEMPERATURE,
    MAX_TOP_K,
    GenerateRequest,
)
from api.schemas.sampling import Seed, StopSequences, Temperature, UnknownCharacters

MAX_PROMPTS = 64
MAX_MESSAGES = 10_000
MAX_TOP_LOGPROBS = 20
MAX_COMPLETION_LOGPROBS = 5
MAX_MODEL_CHARACTERS = 400


def only(*neutral: Any) -> AfterValidator:
    """Refuse all values of a field but those that change nothing."""

    def check(value: Any) -> Any:
        if value in neutral:
            return value
        raise ValueError(
            "not supported by Quire's models, and it would change the text. Leave it out"
        )

    return AfterValidator(check)


def none_if(*neutral: Any) -> BeforeValidator:
    """Take the values of a field that change nothing for null."""
    return BeforeValidator(lambda value: None if value in neutral else value)


def _as_list(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


def _no_empty_stops(value: Any) -> Any:
    return [stop for stop in _as_list(value) if stop not in ("", None)]


Prompt = Annotated[str, StringConstraints(max_length=MAX_PROMPT_CHARACTERS)]
#: Changes no text.
Ignored = Any
Penalty = Annotated[Any, only(0)]


class OpenAiRequest(BaseModel):
    """The base of the bodies. Unknown fields and wrong types are refused, nulls are dropped."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        return {name: value for name, value in given.items() if value is not None}


class StreamOptions(OpenAiRequest):
    """How a stream ends."""

    include_usage: bool = False
    include_obfuscation: Ignored = None


class CompletionBase(OpenAiRequest):
    """What requests for completions and for chat completions share.

    `top_k`, `repetition_penalty` and `unknown` are those of `POST /v1/generate`.
    """

    model: Annotated[str, StringConstraints(min_length=1, max_length=MAX_MODEL_CHARACTERS)]
    max_tokens: int | None = Field(None, ge=1, le=MAX_LENGTH)
    temperature: Temperature | None = None
    top_p: Annotated[float | None, Field(gt=0, le=1), none_if(1)] = None
    n: int = Field(1, ge=1, le=MAX_TEXTS_PER_TEMPERATURE)
    stop: Annotated[StopSequences, BeforeValidator(_no_empty_stops)] = []
    seed: Seed | None = None
    stream: bool = False
    stream_options: StreamOptions = StreamOptions()
    top_k: Annotated[int | None, Field(ge=1, le=MAX_TOP_K), none_if(0, -1)] = None
    repetition_penalty: float = Field(1.0, ge=1, le=MAX_REPETITION_PENALTY)
    unknown: UnknownCharacters = "error"

    frequency_penalty: Penalty = 0
    presence_penalty: Penalty = 0
    logit_bias: Annotated[Any, only({})] = None

    metadata: Ignored = None
    prompt_cache_key: Ignored = None
    prompt_cache_options: Ignored = None
    prompt_cache_retention: Ignored = None
    safety_identifier: Ignored = None
    service_tier: Ignored = None
    store: Ignored = None
    user: Ignored = None

    @property
    def prompts(self) -> list[str | None]:
        """What the texts continue; None is a piece of the corpus."""
        raise NotImplementedError

    @property
    def wants_logprobs(self) -> bool:
        """Whether log-probabilities are asked for."""
        raise NotImplementedError

    def generations(self, model: NamedModel) -> list[GenerateRequest]:
        """Return the request for `POST /v1/generate` that each prompt stands for."""
        fields: dict[str, Any] = {
            "model": model.model.id,
            "checkpoint": model.checkpoint or "best",
            "length": self.max_tokens,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "top_k": self.top_k,
            "repetition_penalty": self.repetition_penalty,
            "n": self.n,
            "stop": self.stop,
            "seed": self.seed,
            "logprobs": self.wants_logprobs,
            "top_logprobs": min(self.wanted_alternatives, generation.MAX_TOP_LOGPROBS),
            "unknown": self.unknown,
            "echo": self.echoes,
        }
        given = {name: value for name, value in fields.items() if value is not None}
        return [GenerateRequest(prompt=prompt, **given) for prompt in self.prompts]

    @property
    def wanted_alternatives(self) -> int:
        """How many of the likeliest tokens are asked for in the place of each."""
        raise NotImplementedError

    @property
    def echoes(self) -> bool:
        """Whether each text begins with its prompt."""
        return False


class CompletionRequest(CompletionBase):
    """The body of ``POST /completions``."""

    prompt: Annotated[
        list[Prompt], Field(min_length=1, max_length=MAX_PROMPTS), BeforeValidator(_as_list)
    ] = [""]
    echo: bool = False
    logprobs: int | None = Field(None, ge=0, le=MAX_COMPLETION_LOGPROBS)
    best_of: int | None = None
    suffix: Annotated[Any, only("")] = None

    @model_validator(mode="before")
    @classmethod
    def _refuse_numbers(cls, given: Any) -> Any:
        prompt = given.get("prompt") if isinstance(given, dict) else None
        if isinstance(prompt, list) and any(isinstance(part, int | list) for part in prompt):
            raise Invalid(
                "prompt", None, "must be a text, or texts: numbers of tokens are not known"
            )
        return given

    @model_validator(mode="after")
    def _check_best_of(self) -> Self:
        if self.best_of not in (None, self.n):
            raise Invalid(
                "best_of",
                self.best_of,
                f"must equal n ({self.n}): all texts are returned. Leave it out, or raise n",
            )
        return self

    @property
    def prompts(self) -> list[str | None]:
        """What the texts continue; None is a piece of the corpus."""
        return [prompt or None for prompt in self.prompt]

    @property
    def wants_logprobs(self) -> bool:
        """Whether log-probabilities are asked for."""
        return self.logprobs is not None

    @property
    def wanted_alternatives(self) -> int:
        """How many of the likeliest tokens are asked for in the place of each."""
        return self.logprobs or 0

    @property
    def echoes(self) -> bool:
        """Whether each text begins with its prompt."""
        return self.echo


class ChatCompletionRequest(CompletionBase):
    """The body of ``POST /chat/completions``."""

    messages: list[dict[str, Any]] = Field(min_length=1, max_length=MAX_MESSAGES)
    max_completion_tokens: int | None = Field(None, ge=1, le=MAX_LENGTH)
    logprobs: bool = False
    top_logprobs: int = Field(0, ge=0, le=MAX_TOP_LOGPROBS)

    audio: Annotated[Any, only()] = None
    function_call: Annotated[Any, only("none", "auto")] = None
    functions: Annotated[Any, only([])] = None
    modalities: Annotated[Any, only(["text"])] = None
    moderation: Ignored = None
    parallel_tool_calls: Ignored = None
    prediction: Ignored = None
    reasoning_effort: Annotated[Any, only("none")] = None
    response_format: Annotated[Any, only({"type": "text"})] = None
    tool_choice: Annotated[Any, only("none", "auto")] = None
    tools: Annotated[Any, only([])] = None
    verbosity: Annotated[Any, only("medium")] = None
    web_search_options: Annotated[Any, only()] = None

    @model_validator(mode="before")
    @classmethod
    def _rename_max_tokens(cls, given: Any) -> Any:
        if not isinstance(given, dict) or given.get("max_completion_tokens") is None:
            return given
        newer, older = given["max_completion_tokens"], given.get("max_tokens")
        if older not in (None, newer):
            raise Invalid("max_tokens", older, f"differs from max_completion_tokens ({newer})")
        return given | {"max_tokens": newer}

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.top_logprobs and not self.logprobs:
            raise Invalid("top_logprobs", self.top_logprobs, "needs logprobs: true")
        self._last_of_user()
        return self

    @property
    def prompts(self) -> list[str | None]:
        """What the texts continue; None is a piece of the corpus."""
        return [self._last_of_user() or None]

    @property
    def wants_logprobs(self) -> bool:
        """Whether log-probabilities are asked for."""
        return self.logprobs

    @property
    def wanted_alternatives(self) -> int:
        """How many of the likeliest tokens are asked for in the place of each."""
        return self.top_logprobs

    def _last_of_user(self) -> str:
        """The text of the last message of the user, which is the prompt."""
        for number, message in reversed(list(enumerate(self.messages))):
            if message.get("role") == "user":
                text = _text_of(message.get("content"), f"messages.{number}.content")
                if len(text) > MAX_PROMPT_CHARACTERS:
                    raise Invalid(
                        f"messages.{number}.content",
                        len(text),
                        f"must have at most {MAX_PROMPT_CHARACTERS} characters",
                    )
                return text
        raise Invalid(
            "messages", None, 'must have one of the role "user", whose text is the prompt'
        )


def _text_of(content: Any, field: str) -> str:
    """Return the text of a message."""
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list):
        raise Invalid(field, None, "must be a text, or parts of the type text")
    return "".join(_text_of_part(part, f"{field}.{i}") for i, part in enumerate(content))


def _text_of_part(part: Any, field: str) -> str:
    if isinstance(part, str):
        return part
    kind = part.get("type") if isinstance(part, dict) else None
    text = part.get("text") if isinstance(part, dict) else None
    if kind != "text" or not isinstance(text, str):
        raise Invalid(
            f"{field}.type", kind, "must be text: the models read nothing else. Leave the part out"
        )
    return text
