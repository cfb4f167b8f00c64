"""Blobs, corpora, models, checkpoints and generated texts."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    LargeBinary,
    String,
    Text,
    UniqueConstraint,
    false,
    true,
)
from sqlalchemy.orm import Mapped, mapped_column

from shared.ids import new_id
from shared.tables.base import SHA256_CHARACTERS, Base, Id, Json, one_of, partial

VISIBILITIES = ("private", "server")
CHUNK_BYTES = 1024 * 1024
#: The condition of the partial indexes of corpora and models.
DELETED = "deleted_at IS NOT NULL"
#: The condition of the partial index of texts.
KEPT = "kept"


class Blob(Base):
    """Bytes named by their SHA-256. `touched_at` is when they were last stored or published."""

    __tablename__ = "blobs"
    sha256: Mapped[str] = mapped_column(String(SHA256_CHARACTERS), primary_key=True)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    touched_at: Mapped[datetime] = mapped_column(index=True)


class BlobChunk(Base):
    """A piece of a blob, at most `CHUNK_BYTES` long."""

    __tablename__ = "blob_chunks"
    sha256: Mapped[str] = mapped_column(
        ForeignKey("blobs.sha256", ondelete="CASCADE"), primary_key=True
    )
    position: Mapped[int] = mapped_column(primary_key=True)
    data: Mapped[bytes] = mapped_column(LargeBinary)

    __table_args__ = (CheckConstraint("position >= 0", name="position"),)


class Corpus(Base):
    """A text to train on: UTF-8 without U+FEFF, with LF line ends."""

    __tablename__ = "corpora"
    id: Mapped[str] = mapped_column(Id, primary_key=True, default=new_id)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"), index=True)
    name: Mapped[str] = mapped_column(String(200))
    visibility: Mapped[str] = mapped_column(String(10), default="private")
    #: The group that it is shared with while it is private to all others. So an older release shows
    #: it to nobody more. No foreign key: SQLite could add one only by copying the table.
    group_id: Mapped[str | None] = mapped_column(Id, index=True)
    #: Whether models trained on it show pieces of it to users who may not see it.
    allow_excerpts: Mapped[bool] = mapped_column(default=False, server_default=false())
    sha256: Mapped[str] = mapped_column(ForeignKey("blobs.sha256"), index=True)
    encoding: Mapped[str] = mapped_column(String(40))
    bytes: Mapped[int] = mapped_column(BigInteger)
    characters: Mapped[int] = mapped_column(BigInteger)
    alphabet: Mapped[str] = mapped_column(Text, deferred=True)
    alphabet_lowercase: Mapped[str] = mapped_column(Text, deferred=True)
    distinct_characters: Mapped[int]
    #: NFC or NFD; null if both occur, if they are the same here, or if nobody looked.
    normal_form: Mapped[str | None] = mapped_column(String(3))
    #: What the upload was found to be; null for corpora from before that was looked at.
    findings: Mapped[list[Any] | None] = mapped_column(Json)
    #: The files that it was put together from: names and characters.
    parts: Mapped[list[Any] | None] = mapped_column(Json)
    #: See shared/texts/items.py; null for one text.
    items: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime]
    #: Its owner can restore it until it is purged; to everybody else it is as if it was gone.
    deleted_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint(one_of("visibility", VISIBILITIES), name="visibility"),
        CheckConstraint("characters > 0", name="characters"),
        partial("ix_corpora_deleted_at", "deleted_at", where=DELETED),
    )


class Model(Base):
    """The product of one training: a vocabulary, a network's dimensions, and its checkpoints."""

    __tablename__ = "models"
    id: Mapped[str] = mapped_column(Id, primary_key=True, default=new_id)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"), index=True)
    name: Mapped[str] = mapped_column(String(200))
    visibility: Mapped[str] = mapped_column(String(10), default="private")
    #: As for a corpus.
    group_id: Mapped[str | None] = mapped_column(Id, index=True)
    #: Null for a model that was imported.
    corpus_id: Mapped[str | None] = mapped_column(ForeignKey("corpora.id"), index=True)
    spec: Mapped[dict[str, Any]]
    #: The characters; the words of `tokenizer: "word"` are in the checkpoints.
    vocabulary: Mapped[str] = mapped_column(Text, deferred=True)
    #: The number of tokens: of the characters alone until the training has chosen the words.
    vocabulary_size: Mapped[int]
    #: In the held-out tail; 1 for `tokenizer: "char"`, null until the words are chosen.
    characters_per_token: Mapped[float | None]
    #: The checkpoint that its training began from; the id stays if the checkpoint is deleted.
    from_checkpoint_id: Mapped[str | None] = mapped_column(Id, index=True)
    #: Where an imported model comes from; see shared/model_files/about.py.
    origin: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime]
    #: As for a corpus.
    deleted_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint(one_of("visibility", VISIBILITIES), name="visibility"),
        CheckConstraint("vocabulary_size > 0", name="vocabulary_size"),
        partial("ix_models_deleted_at", "deleted_at", where=DELETED),
    )


class Checkpoint(Base):
    """A network at one step, with all that a training needs to continue from it."""

    __tablename__ = "checkpoints"
    id: Mapped[str] = mapped_column(Id, primary_key=True, default=new_id)
    model_id: Mapped[str] = mapped_column(ForeignKey("models.id", ondelete="CASCADE"))
    #: Null for the checkpoint of an imported model.
    job_id: Mapped[str | None] = mapped_column(ForeignKey("jobs.id"), index=True)
    attempt: Mapped[int]
    step: Mapped[int]
    epoch: Mapped[float]
    loss: Mapped[float | None]
    val_loss: Mapped[float | None]
    digest: Mapped[str] = mapped_column(String(SHA256_CHARACTERS))
    sha256: Mapped[str] = mapped_column(ForeignKey("blobs.sha256"), index=True)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    fingerprint: Mapped[dict[str, Any]]
    #: Whether all of the training was computed under one fingerprint.
    exact: Mapped[bool] = mapped_column(default=True, server_default=true())
    created_at: Mapped[datetime]

    __table_args__ = (
        UniqueConstraint("job_id", "step"),
        Index("ix_checkpoints_model_id_step", "model_id", "step"),
        CheckConstraint("step >= 0", name="step"),
    )


class GeneratedText(Base):
    """A text from a network: requested by a `generate` job, or sampled during a training."""

    __tablename__ = "texts"
    id: Mapped[str] = mapped_column(Id, primary_key=True, default=new_id)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"), index=True)
    model_id: Mapped[str | None] = mapped_column(
        ForeignKey("models.id", ondelete="SET NULL"), index=True
    )
    checkpoint_id: Mapped[str | None] = mapped_column(
        ForeignKey("checkpoints.id", ondelete="SET NULL"), index=True
    )
    requested: Mapped[bool]
    #: The index in its job: by temperature in the given order, then by `n`.
    position: Mapped[int]
    step: Mapped[int] = mapped_column(default=0, server_default="0")
    epoch: Mapped[float | None]
    prompt: Mapped[str] = mapped_column(Text)
    text: Mapped[str] = mapped_column(Text)
    temperature: Mapped[float]
    top_k: Mapped[int | None]
    top_p: Mapped[float | None]
    seed: Mapped[int] = mapped_column(BigInteger)
    finish_reason: Mapped[str] = mapped_column(String(20))
    #: The temperature at the end, if a schedule changed it.
    temperature_to: Mapped[float | None]
    repetition_penalty: Mapped[float] = mapped_column(default=1.0, server_default="1")
    #: Whether the text is shown with its prompt.
    echo: Mapped[bool] = mapped_column(default=False, server_default=false())
    #: Under the network's own distribution, before temperature and `top_k`/`top_p`; in nats.
    mean_logprob: Mapped[float | None]
    bits_per_char: Mapped[float | None]
    logprobs: Mapped[list[float] | None] = mapped_column(Json)
    #: The tokens, and of each its likeliest alternatives as pairs of token and log-probability.
    tokens: Mapped[list[str] | None] = mapped_column(Json)
    top_logprobs: Mapped[list[Any] | None] = mapped_column(Json)
    #: The longest piece that occurs in the corpus: length, index in the text, index in the corpus.
    copied_characters: Mapped[int | None]
    copied_at: Mapped[int | None]
    copied_from: Mapped[int | None]
    #: The share of its 8-grams that occur in the corpus.
    known_grams: Mapped[float | None]
    #: Pieces that occur in the corpus: index in the text, length, index in the corpus.
    copied_spans: Mapped[list[Any] | None] = mapped_column(Json)
    #: Whether it is an item of the corpus; null for a text.
    copy: Mapped[bool | None]
    #: The tokens that may follow the prompt, by temperature; of a text that was only read.
    next_tokens: Mapped[list[Any] | None] = mapped_column(Json)
    #: Whether its owner keeps it, and what for.
    kept: Mapped[bool] = mapped_column(default=False, server_default=false())
    note: Mapped[str | None] = mapped_column(Text)
    #: Draws that were thrown away before it, where only new items were wanted.
    discarded: Mapped[int | None]
    #: The nearest item of the corpus and its edit distance, if requested.
    nearest: Mapped[str | None] = mapped_column(Text)
    nearest_distance: Mapped[int | None]
    created_at: Mapped[datetime]

    __table_args__ = (
        # A repeated attempt can't insert the same text twice.
        UniqueConstraint("job_id", "step", "position"),
        partial("ix_texts_kept", "user_id", "id", where=KEPT),
    )
