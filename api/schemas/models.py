"""What an answer says of a corpus, a model and a checkpoint."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import Field

from api.schemas.fields import Omittable, Visibility
from api.schemas.replies import Reply
from api.schemas.texts import LineageReply
from shared.specs.presets import Tokenizer


class CorpusReply(Reply):
    """A text to learn from."""

    id: str
    name: str
    visibility: Visibility
    owner: str
    sha256: str = Field(description="of the text as it is kept: UTF-8, no BOM, LF")
    bytes: int
    characters: int
    distinct_characters: int
    encoding: str = Field(description="as it was uploaded")
    created_at: datetime


class AliasesReply(Reply):
    """The ids of the checkpoints that `best` and `latest` mean now."""

    best: str | None
    latest: str | None


class ModelReply(Reply):
    """What one training makes."""

    id: str
    name: str
    visibility: Visibility
    owner: str
    corpus: str | None = Field(description="null where you may not see it")
    corpus_sha256: str | None = Field(description="null where you may not see it")
    from_checkpoint: str | None = Field(
        description="where its training began; null where you may not see it"
    )
    preset: str
    spec: dict[str, Any]
    tokenizer: Tokenizer
    vocabulary_size: int | None = Field(
        description="tokens; null until the training has chosen its words (tokenizer: word)"
    )
    characters_per_token: float | None = Field(
        description="in the held-out tail; 1 where tokens are characters, null until it is known"
    )
    job: str | None = Field(description="its training; null where you may not see it")
    checkpoints: AliasesReply
    created_at: datetime


class CheckpointReply(Reply):
    """A network at one step."""

    id: str
    model: str
    job: str | None = Field(description="its training; null where you may not see it")
    step: int
    epoch: float
    loss: float | None
    val_loss: float | None
    bits_per_char: float | None = Field(
        description="val_loss / ln 2 / characters per token; compares across tokenizers"
    )
    digest: str = Field(description="SHA-256 over all variables and the loop's state")
    sha256: str = Field(description="of the file")
    bytes: int
    fingerprint: dict[str, Any]
    exact: bool = Field(description="whether all of it was computed under one fingerprint")
    created_at: datetime
    lineage: Annotated[LineageReply, Field(description="of one that is read alone")] = Omittable
