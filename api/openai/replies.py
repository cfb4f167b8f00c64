"""What the calls below ``/openai/v1`` answer."""

from typing import Literal

from api.schemas.replies import Reply


class ModelObject(Reply):
    """A model."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str


class ModelList(Reply):
    """All models, on one page."""

    object: Literal["list"] = "list"
    data: list[ModelObject]


class Deleted(Reply):
    """What was deleted."""

    id: str
    object: str
    deleted: Literal[True] = True


class Usage(Reply):
    """What a request took. A token is a character, or a word."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class CompletionLogprobs(Reply):
    """The tokens of a text, and what the network found of each."""

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None] | None
    text_offset: list[int]


class CompletionChoice(Reply):
    """A text, or a part of it."""

    index: int
    text: str
    logprobs: CompletionLogprobs | None
    finish_reason: str | None


class CompletionChunk(Reply):
    """A part of a completion."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    system_fingerprint: str | None
    choices: list[CompletionChoice]


class Completion(CompletionChunk):
    """The texts of a request; without them the end of a stream."""

    usage: Usage


class LikelyToken(Reply):
    """A token, and what the network found of it."""

    token: str
    logprob: float
    bytes: list[int]


class TokenLogprob(LikelyToken):
    """A token of a message. Of the likeliest ones, the one that was written is known alone."""

    top_logprobs: list[LikelyToken]


class ChatLogprobs(Reply):
    """The tokens of a message."""

    content: list[TokenLogprob]
    refusal: None = None


class Message(Reply):
    """A text, as the answer of an assistant."""

    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None


class ChatChoice(Reply):
    """A whole message."""

    index: int
    message: Message
    logprobs: ChatLogprobs | None
    finish_reason: str


class ChatDelta(Reply):
    """A part of a message in a stream: `role` in the first one alone, since clients join them."""

    index: int
    delta: dict[str, str]
    logprobs: ChatLogprobs | None
    finish_reason: str | None


class ChatCompletion(Reply):
    """The messages that answer a request."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    system_fingerprint: str | None
    choices: list[ChatChoice]
    usage: Usage


class ChatCompletionChunk(Reply):
    """A part of a chat completion."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    system_fingerprint: str | None
    choices: list[ChatDelta]


class ChatCompletionEnd(ChatCompletionChunk):
    """The end of a stream."""

    usage: Usage
