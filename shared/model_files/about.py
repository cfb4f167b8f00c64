"""What an exported model's file says besides its network: the entry `quire.model`."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from shared.specs.training import Frozen, TrainSpec

#: The entry that every checkpoint has, and the one that an export adds.
CHECKPOINT_KEY, MODEL_KEY = "quire", "quire.model"
TRAINING_PREFIX = "training."

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Uuid = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
Loss = Annotated[float, Field(allow_inf_nan=False)]


class Origin(Frozen):
    """Where an exported model comes from, as far as its exporter may know.

    Attributes:
        model: The model's id there.
        checkpoint: The checkpoint's id there.
        sha256: The SHA-256 of the checkpoint's file there.
        digest: The digest of the checkpoint there, of its optimizer state too.
        corpus_sha256: The text of its training; null if the exporter could not see it.
        from_checkpoint: The checkpoint that the training began from there, if it did.
        optimizer: Whether the file has the optimizer state.
    """

    model: Uuid
    checkpoint: Uuid
    sha256: Sha256
    digest: Sha256
    corpus_sha256: Sha256 | None
    from_checkpoint: Uuid | None
    optimizer: bool


class About(Frozen):
    """The JSON of `quire.model`.

    Attributes:
        format: The version of these fields.
        name: The model's name.
        spec: Its training's preset and numbers.
        characters_per_token: In the held-out text.
        val_loss: Of the checkpoint, in nats per token; null if it was not validated.
        origin: Where the model comes from.
    """

    format: Literal[1] = 1
    name: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    spec: TrainSpec
    characters_per_token: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    val_loss: Loss | None
    origin: Origin
