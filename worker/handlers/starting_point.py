"""Where a training starts: its model's alphabet, and perhaps another training's checkpoint."""

from dataclasses import dataclass

from sqlalchemy import Engine, select
from sqlalchemy.orm import aliased

from shared.database import reading
from shared.queue.types import Claim
from shared.tables import Checkpoint as CheckpointRow
from shared.tables import Corpus, Model
from worker.data import checkpoints
from worker.execution.failures import ModelDeleted, StartingPointDeleted


@dataclass(frozen=True, slots=True)
class StartingPoint:
    """The checkpoint that a training starts from, saved by another training.

    Attributes:
        id: The checkpoint's id.
        job_id: The training that saved it; None for an imported one.
        step: The step of that training.
        sha256: Names the checkpoint's bytes.
        validated: Whether it has a validation loss.
        corpus_sha256: The text it was trained on; None for an imported one that doesn't tell.
        lowercase: Whether that text was lower-cased.
    """

    id: str
    job_id: str | None
    step: int
    sha256: str
    validated: bool
    corpus_sha256: str | None
    lowercase: bool


def read_model(engine: Engine, claim: Claim) -> tuple[str, StartingPoint | None]:
    """The alphabet of a claimed training's model, and the checkpoint it starts from, if any.

    Raises:
        ModelDeleted: The model is gone.
        StartingPointDeleted: The checkpoint is gone, and the training has none of its own yet.
    """
    with reading(engine) as connection:
        model = connection.execute(
            select(Model.vocabulary, Model.from_checkpoint_id).where(Model.id == claim.model_id)
        ).one_or_none()
        if model is None:
            raise ModelDeleted
        alphabet: str = model.vocabulary
        if model.from_checkpoint_id is None:
            return alphabet, None
        source = aliased(Model)
        row = connection.execute(
            select(
                CheckpointRow.id,
                CheckpointRow.job_id,
                CheckpointRow.step,
                CheckpointRow.sha256,
                CheckpointRow.val_loss.is_not(None).label("validated"),
                Corpus.sha256.label("corpus_sha256"),
                source.spec,
                source.origin,
            )
            .join(source, CheckpointRow.model_id == source.id)
            .outerjoin(Corpus, source.corpus_id == Corpus.id)
            .where(CheckpointRow.id == model.from_checkpoint_id)
        ).one_or_none()
    if row is None:
        # It is needed only until the training has a checkpoint of its own.
        if next(checkpoints.newest_first(engine, claim.job_id), None):
            return alphabet, None
        raise StartingPointDeleted(model.from_checkpoint_id)
    return alphabet, StartingPoint(
        id=row.id,
        job_id=row.job_id,
        step=row.step,
        sha256=row.sha256,
        validated=bool(row.validated),
        corpus_sha256=row.corpus_sha256 if row.origin is None else row.origin["corpus_sha256"],
        lowercase=row.spec["lowercase"],
    )
