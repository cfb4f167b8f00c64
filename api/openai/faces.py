"""What texts look like to a client: completions, or chat completions; whole, or in chunks."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel

from api.openai import replies
from api.openai.replies import Usage
from api.openai.texts import written
from api.schemas.texts import LikelyTokenReply, TextReply


@dataclass(frozen=True, slots=True, kw_only=True)
class Face(ABC):
    """How the texts of one request are shown.

    Attributes:
        id: Names the request's first job.
        created: When it was created, in seconds.
        model: The model, as the request names it.
        echo: Whether texts begin with their prompts.
        shows_logprobs: Whether texts come with log-probabilities.
        shows_likeliest: Whether the list of the likeliest tokens is wanted, too.
    """

    id: str
    created: int
    model: str
    echo: bool
    shows_logprobs: bool
    shows_likeliest: bool

    @abstractmethod
    def whole(self, texts: Sequence[TextReply], usage: Usage, fingerprint: str) -> BaseModel:
        """Return all texts of a request, in order."""

    @abstractmethod
    def part(self, index: int, text: str, fingerprint: str, *, is_first: bool) -> BaseModel:
        """Return a part of a text."""

    @abstractmethod
    def last(self, index: int, text: TextReply, fingerprint: str) -> BaseModel:
        """Return the end of a text, which has its log-probabilities."""

    @abstractmethod
    def end(self, usage: Usage, fingerprint: str) -> BaseModel:
        """Return the end of a stream."""


class CompletionFace(Face):
    """`POST /completions`."""

    def whole(self, texts: Sequence[TextReply], usage: Usage, fingerprint: str) -> BaseModel:
        """Return all texts of a request, in order."""
        choices = [
            replies.CompletionChoice(
                index=index,
                text=text.text,
                logprobs=self._logprobs(text),
                finish_reason=text.finish_reason,
            )
            for index, text in enumerate(texts)
        ]
        return replies.Completion(
            id=f"cmpl-{self.id}",
            created=self.created,
            model=self.model,
            system_fingerprint=fingerprint,
            choices=choices,
            usage=usage,
        )

    def part(self, index: int, text: str, fingerprint: str, *, is_first: bool) -> BaseModel:
        """Return a part of a text."""
        return self._chunk(
            replies.CompletionChoice(index=index, text=text, logprobs=None, finish_reason=None),
            fingerprint,
        )

    def last(self, index: int, text: TextReply, fingerprint: str) -> BaseModel:
        """Return the end of a text, which has its log-probabilities."""
        choice = replies.CompletionChoice(
            index=index, text="", logprobs=self._logprobs(text), finish_reason=text.finish_reason
        )
        return self._chunk(choice, fingerprint)

    def end(self, usage: Usage, fingerprint: str) -> BaseModel:
        """Return the end of a stream."""
        return self.whole([], usage, fingerprint)

    def _chunk(self, choice: replies.CompletionChoice, fingerprint: str) -> BaseModel:
        return replies.CompletionChunk(
            id=f"cmpl-{self.id}",
            created=self.created,
            model=self.model,
            system_fingerprint=fingerprint,
            choices=[choice],
        )

    def _logprobs(self, text: TextReply) -> replies.CompletionLogprobs | None:
        if not self.shows_logprobs:
            return None
        found: list[float | None] = list(text.logprobs or [])
        # The network's opinion of the prompt is not kept.
        values = [None] * (len(text.text) - len(found)) + found
        alternatives = [*[[]] * (len(values) - len(found)), *_likeliest(text, len(found))]
        # The token that was written is listed even if others were likelier.
        likeliest = [
            None
            if value is None
            else {each.token: each.logprob for each in listed} | {token: value}
            for token, value, listed in zip(text.text, values, alternatives, strict=True)
        ]
        return replies.CompletionLogprobs(
            tokens=list(text.text),
            token_logprobs=values,
            top_logprobs=likeliest if self.shows_likeliest else None,
            text_offset=list(range(len(text.text))),
        )


class ChatFace(Face):
    """`POST /chat/completions`."""

    def whole(self, texts: Sequence[TextReply], usage: Usage, fingerprint: str) -> BaseModel:
        """Return all texts of a request, in order."""
        choices = [
            replies.ChatChoice(
                index=index,
                message=replies.Message(content=written(text)),
                logprobs=self._logprobs(text),
                finish_reason=text.finish_reason,
            )
            for index, text in enumerate(texts)
        ]
        return replies.ChatCompletion(
            id=f"chatcmpl-{self.id}",
            created=self.created,
            model=self.model,
            system_fingerprint=fingerprint,
            choices=choices,
            usage=usage,
        )

    def part(self, index: int, text: str, fingerprint: str, *, is_first: bool) -> BaseModel:
        """Return a part of a text."""
        role = {"role": "assistant"} if is_first else {}
        choice = replies.ChatDelta(
            index=index, delta={**role, "content": text}, logprobs=None, finish_reason=None
        )
        return self._chunk([choice], fingerprint)

    def last(self, index: int, text: TextReply, fingerprint: str) -> BaseModel:
        """Return the end of a text, which has its log-probabilities."""
        choice = replies.ChatDelta(
            index=index, delta={}, logprobs=self._logprobs(text), finish_reason=text.finish_reason
        )
        return self._chunk([choice], fingerprint)

    def end(self, usage: Usage, fingerprint: str) -> BaseModel:
        """Return the end of a stream."""
        return replies.ChatCompletionEnd(
            id=f"chatcmpl-{self.id}",
            created=self.created,
            model=self.model,
            system_fingerprint=fingerprint,
            choices=[],
            usage=usage,
        )

    def _chunk(self, choices: list[replies.ChatDelta], fingerprint: str) -> BaseModel:
        return replies.ChatCompletionChunk(
            id=f"chatcmpl-{self.id}",
            created=self.created,
            model=self.model,
            system_fingerprint=fingerprint,
            choices=choices,
        )

    def _logprobs(self, text: TextReply) -> replies.ChatLogprobs | None:
        if not self.shows_logprobs:
            return None
        return replies.ChatLogprobs(
            content=[
                self._token(token, value, likeliest)
                for token, value, likeliest in zip(
                    written(text),
                    text.logprobs or [],
                    _likeliest(text, len(text.logprobs or [])),
                    strict=True,
                )
            ]
        )

    def _token(
        self, token: str, value: float, likeliest: Sequence[LikelyTokenReply]
    ) -> replies.TokenLogprob:
        itself = _likely(token, value)
        listed = [_likely(each.token, each.logprob) for each in likeliest] or [itself]
        return replies.TokenLogprob(
            **itself.model_dump(), top_logprobs=listed if self.shows_likeliest else []
        )


def _likely(token: str, value: float) -> replies.LikelyToken:
    return replies.LikelyToken(token=token, logprob=value, bytes=list(token.encode()))


def _likeliest(text: TextReply, count: int) -> Sequence[Sequence[LikelyTokenReply]]:
    """The likeliest tokens in the place of each; nothing if a worker told none."""
    return [[]] * count if text.top_logprobs is None else text.top_logprobs
