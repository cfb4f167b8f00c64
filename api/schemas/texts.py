"""Replies about texts and their lineage."""

from datetime import datetime
from typing import Annotated

from pydantic import ConfigDict, Field

from api.schemas.fields import Omittable
from api.schemas.replies import Reply


class LineageReply(Reply):
    """The lineage of a text or checkpoint: corpus, training, model, checkpoint.

    Fields are null if the resource was deleted or you may not see it.
    """

    corpus: str | None
    corpus_sha256: str | None
    job: str | None = Field(description="the training job")
    model: str | None
    checkpoint: str | None
    step: int | None
    checkpoint_sha256: str | None = Field(description="of the file")
    digest: str | None = Field(description="SHA-256 of all variables and the training loop's state")
    exact: bool | None
    from_checkpoint: str | None = Field(
        description="the checkpoint that the training started from, which has a lineage of its own"
    )


class NoveltyReply(Reply):
    """How much of a text is copied from its corpus (lower-cased if the training did so)."""

    copied_characters: int = Field(
        description="length of the longest piece that occurs verbatim in the corpus"
    )
    copied: str = Field(description="that piece; the first one if several are as long")
    copied_from: int | None = Field(
        description="its first position in the corpus, in characters; null if nothing is copied, "
        "or if you may not see the corpus and its owner does not allow excerpts"
    )
    known_grams: float | None = Field(
        description="fraction of the text's 8-character pieces that occur in the corpus; null for "
        "a shorter text"
    )


class CopiedSpanReply(Reply):
    """A piece of a text that stands in the corpus, word for word."""

    # `from` is a keyword.
    model_config = ConfigDict(serialize_by_alias=True)

    start: int = Field(description="its position in `text`, in characters")
    length: int = Field(description="in characters, at least 16")
    source: int = Field(alias="from", description="its first position in the corpus")


class LikelyTokenReply(Reply):
    """A token that could have stood there, too."""

    token: str = Field(description="empty for the end of an item")
    logprob: float = Field(description="as in `logprobs`")


class NextTokenReply(Reply):
    """A token that may follow."""

    token: str = Field(description="empty for the end of an item")
    probability: float = Field(description="at this temperature")
    logprob: float | None = Field(description="its natural logarithm; null of 0")


class NextReply(Reply):
    """Which tokens may follow a prompt at one temperature."""

    temperature: float
    entropy_bits: float = Field(description="of the distribution over all tokens")
    rest: float = Field(description="the probability of the tokens that are not listed, together")
    tokens: list[NextTokenReply] = Field(description="the likeliest first")


class TextReply(Reply):
    """A text that a model wrote."""

    # `copy` is a method of pydantic's models.
    model_config = ConfigDict(serialize_by_alias=True)

    id: str
    job: str
    model: str | None = Field(description="null if the model was deleted")
    checkpoint: str | None
    owner: str
    prompt: str
    text: str
    temperature: float
    top_k: int | None
    top_p: float | None
    seed: int
    index: int = Field(description="position in the job: by temperature, then by `n`")
    finish_reason: str = Field(
        description="`length`, `stop`, `end` (of an item), `deadline` or `cancelled` (both "
        "incomplete); or `scored` or `next` for a text that was only read"
    )
    temperature_to: float | None = Field(description="at the last token, if a schedule changed it")
    repetition_penalty: float
    echo: bool = Field(description="whether `text` includes the prompt")
    mean_logprob: float | None = Field(
        description="mean log-probability of the text in nats per token, under the network's own "
        "distribution: before temperature, top_k and top_p"
    )
    bits_per_char: float | None = Field(
        description="its negative in bits per character; comparable across tokenizers"
    )
    logprobs: list[float] | None = Field(description="of each token, if requested")
    tokens: list[str] | None = Field(
        description="the tokens themselves, if `top_logprobs` were requested; empty for the end of "
        "an item"
    )
    top_logprobs: list[list[LikelyTokenReply]] | None = Field(
        description="the likeliest tokens in the place of each, likeliest first, if requested"
    )
    copied_spans: list[CopiedSpanReply] | None = Field(
        description="the pieces of 16 characters or more that stand in the corpus, in order and "
        "none overlapping, if requested; null as `copied_from` is, and as `novelty` is"
    )
    next: list[NextReply] | None = Field(
        description="of `POST /v1/next`: one for each temperature, in their order"
    )
    epoch: float | None = Field(description="of the training that sampled it")
    step: int | None = Field(description="of the training that sampled it")
    requested: bool = Field(description="false for a sample that a training wrote")
    novelty: NoveltyReply | None = Field(
        description="of the text without its prompt; null if the corpus was deleted or exceeds "
        "8,000,000 characters"
    )
    copy_: bool | None = Field(
        alias="copy",
        description="whether it is, prompt included, an item of the corpus; null for a text that "
        "is no item, or if the corpus was deleted or exceeds 8,000,000 characters",
    )
    kept: bool = Field(description="whether you keep it (`PATCH /v1/texts/{id}`)")
    note: str | None = Field(description="your note on a text that you keep")
    created_at: datetime
    lineage: Annotated[LineageReply, Field(description="only in the reply for a single text")] = (
        Omittable
    )
