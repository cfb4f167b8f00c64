"""What an answer says of a text that a network wrote, and of where it comes from."""

from datetime import datetime
from typing import Annotated

from pydantic import Field

from api.schemas.fields import Omittable
from api.schemas.replies import Reply


class LineageReply(Reply):
    """Where something comes from: corpus, training, model, checkpoint.

    What was deleted, or is somebody else's to see, is null.
    """

    corpus: str | None
    corpus_sha256: str | None
    job: str | None = Field(description="the training")
    model: str | None
    checkpoint: str | None
    step: int | None
    checkpoint_sha256: str | None = Field(description="of the file")
    digest: str | None = Field(description="SHA-256 over all variables and the loop's state")
    exact: bool | None
    from_checkpoint: str | None = Field(description="where the training began; it has its own")


class NoveltyReply(Reply):
    """What a text has from its corpus, read as the network read it (lower-cased if it was)."""

    copied_characters: int = Field(
        description="length of its longest piece that stands in the corpus word for word"
    )
    copied: str = Field(description="that piece; of several as long the first")
    copied_from: int | None = Field(
        description="where in the corpus it stands first, in characters; null where nothing is"
    )
    known_grams: float | None = Field(
        description="share of its pieces of 8 characters that occur in the corpus; null for a "
        "shorter text"
    )


class TextReply(Reply):
    """A text that a network wrote."""

    id: str
    job: str
    model: str | None = Field(description="null once the model was deleted")
    checkpoint: str | None
    owner: str
    prompt: str
    text: str
    temperature: float
    top_k: int | None
    top_p: float | None
    seed: int
    index: int = Field(description="its place in the job: by temperature, then by `n`")
    finish_reason: str = Field(
        description="`length`, `stop`, `deadline`, `cancelled` (as far as it was written), or "
        "`scored` for a text that was only read"
    )
    temperature_to: float | None = Field(description="at the end, where a schedule changed it")
    repetition_penalty: float
    echo: bool = Field(description="whether `text` begins with `prompt`")
    mean_logprob: float | None = Field(
        description="of what was written, or read, in nats per token: under the network's own "
        "distribution, before temperature and limits"
    )
    bits_per_char: float | None = Field(
        description="the same in bits for each character; compares across tokenizers"
    )
    logprobs: list[float] | None = Field(description="of each token, where asked for")
    epoch: float | None = Field(description="of the training that wrote it as a sample")
    step: int | None = Field(description="of the training that wrote it as a sample")
    requested: bool = Field(description="false for a sample written while a network learned")
    novelty: NoveltyReply | None = Field(
        description="of the text without its prompt; null where the corpus was gone, or longer "
        "than 8,000,000 characters"
    )
    created_at: datetime
    lineage: Annotated[LineageReply, Field(description="of a text that is read alone")] = Omittable
