"""Corpora, models and their checkpoints. Fields that a newer server adds are kept."""

from datetime import datetime
from typing import Any

from quire.client.replies.base import Reply


class Finding(Reply):
    """Something that the server saw in a text."""

    code: str
    message: str
    ways: list[str] = []


class Items(Reply):
    """The items of a corpus that is a list."""

    shape: str
    count: int
    median: int
    longest: int


class Corpus(Reply):
    """A text that models are trained on."""

    id: str
    name: str
    visibility: str
    group: str | None = None
    owner: str
    sha256: str | None = None
    bytes: int
    characters: int
    distinct_characters: int
    allow_excerpts: bool = False
    findings: list[Finding] = []
    items: Items | None = None
    created_at: datetime
    deleted_at: datetime | None = None
    purge_at: datetime | None = None


class DryRun(Reply):
    """What an upload would store; nothing of it was kept."""

    name: str
    sha256: str
    bytes: int
    characters: int
    distinct_characters: int
    encoding: str
    excerpt: str = ""
    alphabet: str = ""
    findings: list[Finding] = []
    items: Items | None = None


class Checkpoint(Reply):
    """A saved training state of a model."""

    id: str
    model: str
    job: str | None = None
    step: int
    epoch: float | None = None
    loss: float | None = None
    val_loss: float | None = None
    bits_per_char: float | None = None
    digest: str | None = None
    bytes: int | None = None
    sha256: str | None = None
    fingerprint: dict[str, Any] = {}
    created_at: datetime


class Model(Reply):
    """A network that was, or is being, trained on a corpus."""

    id: str
    name: str
    visibility: str
    group: str | None = None
    owner: str
    corpus: str | None = None
    preset: str | None = None
    vocabulary_size: int | None = None
    job: str | None = None
    origin: dict[str, Any] | None = None
    checkpoints: dict[str, Any] | None = None
    created_at: datetime
    deleted_at: datetime | None = None
    purge_at: datetime | None = None
