"""Replies about corpora, models and checkpoints."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import Field

from api.schemas.fields import Omittable, Visibility
from api.schemas.replies import Reply
from api.schemas.requests import EXCERPTS
from api.schemas.texts import LineageReply
from shared.specs.presets import Tokenizer
from shared.texts.items import ItemsShape


class FindingReply(Reply):
    """Something about a text that its owner may want to know."""

    code: str = Field(description="for programs, such as `mixed_forms` or `few_characters`")
    message: str
    ways: list[str] = Field(description="what can be done about it, if anything")


class PartReply(Reply):
    """One of the files that a text was put together from."""

    name: str
    characters: int


class ItemsReply(Reply):
    """The items of a corpus that is a list."""

    shape: ItemsShape = Field(description="how they were found")
    count: int
    median: int = Field(description="the median of their lengths, in characters")
    longest: int = Field(description="in characters")


class TextDescription(Reply):
    """What a text is."""

    sha256: str = Field(description="of the stored text: UTF-8, without U+FEFF, with LF line ends")
    bytes: int
    characters: int
    distinct_characters: int
    encoding: str = Field(description="of the uploaded bytes")
    findings: list[FindingReply] = Field(
        description="what was seen in the text; empty also for corpora of older releases"
    )
    parts: list[PartReply] = Field(description="the files of an upload of several; else empty")
    items: ItemsReply | None = Field(
        description="null for one text. Each item has two characters more in the stored text: "
        "U+FDD0 before it, and U+FDD1 after it"
    )


#: Left out of what is not deleted.
DeletedAt = Annotated[
    datetime, Field(description="only of a deleted one, which you can restore until it is purged")
]
PurgeAt = Annotated[datetime, Field(description="only of a deleted one: when it goes for good")]


class CorpusReply(TextDescription):
    """A text to train on."""

    id: str
    name: str
    visibility: Visibility
    group: str | None = Field(description="the name of the group that it is shared with, if any")
    allow_excerpts: bool = Field(description=EXCERPTS)
    owner: str
    created_at: datetime
    deleted_at: DeletedAt = Omittable
    purge_at: PurgeAt = Omittable


class DryRunReply(TextDescription):
    """What an upload would store; nothing of it was kept."""

    name: str
    excerpt: str = Field(description="the beginning of the text")
    alphabet: str = Field(description="the first of its distinct characters, by code point")


class AliasesReply(Reply):
    """The ids of the checkpoints that `best` and `latest` mean now."""

    best: str | None
    latest: str | None


class ModelReply(Reply):
    """A model: the result of one training."""

    id: str
    name: str
    visibility: Visibility
    group: str | None = Field(description="the name of the group that it is shared with, if any")
    owner: str
    corpus: str | None = Field(description="null if you may not see it")
    corpus_sha256: str | None = Field(description="null if you may not see it")
    from_checkpoint: str | None = Field(
        description="the checkpoint that its training started from; null if you may not see it"
    )
    preset: str
    spec: dict[str, Any]
    tokenizer: Tokenizer
    vocabulary_size: int | None = Field(
        description="in tokens; null until the training has chosen its words (tokenizer: word)"
    )
    characters_per_token: float | None = Field(
        description="in the held-out text; 1 if tokens are characters, null until it is known"
    )
    job: str | None = Field(description="its training job; null if you may not see it")
    checkpoints: AliasesReply
    created_at: datetime
    deleted_at: DeletedAt = Omittable
    purge_at: PurgeAt = Omittable


class CheckpointReply(Reply):
    """A snapshot of a model at one training step."""

    id: str
    model: str
    job: str | None = Field(description="its training job; null if you may not see it")
    step: int
    epoch: float
    loss: float | None
    val_loss: float | None
    bits_per_char: float | None = Field(
        description="val_loss / ln 2 / characters per token; comparable across tokenizers"
    )
    digest: str = Field(description="SHA-256 of all variables and the training loop's state")
    sha256: str = Field(description="of the file")
    bytes: int
    fingerprint: dict[str, Any]
    exact: bool = Field(description="whether one fingerprint holds for the whole training so far")
    created_at: datetime
    lineage: Annotated[
        LineageReply, Field(description="only in the reply for a single checkpoint")
    ] = Omittable
