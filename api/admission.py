"""Whether a training fits, asked before it is queued."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from api.refusals import DoesNotFit
from api.services import services
from shared.estimates import Bounds, Estimate, estimate, same_shape, too_much
from shared.presets import TrainSpec
from shared.tables import Corpus, Job, Model

#: How far back trainings of the same shape are looked for, and how many say how fast it is.
LOOKED_AT = 100
MEASURED = 5


def admit(session: Session, corpus: Corpus, spec: TrainSpec, vocabulary_size: int) -> Estimate:
    """What a training will take.

    Raises:
        DoesNotFit: More than a worker has, with the number to lower.
    """
    settings = services().settings
    bounds = Bounds(settings.train_memory_bytes, settings.train_max_seconds)
    speeds = _speeds(session, spec)
    refused = too_much(spec, corpus.characters, vocabulary_size, bounds, speeds)
    if refused is None:
        return estimate(spec, corpus.characters, vocabulary_size, speeds)
    value: object = corpus.id if refused.field == "corpus" else getattr(spec, refused.field)
    way_out = f"lower {refused.field} to {refused.most}"
    if refused.most is None:
        way_out = "take a smaller network and a shorter text"
    elif spec.budget is not None and refused.field == "budget":
        value, way_out = spec.budget.model_dump(), f"lower its seconds to {refused.most}"
    raise DoesNotFit(refused.field, value, f"{refused.words}: {way_out}")


def _speeds(session: Session, spec: TrainSpec) -> list[float]:
    shape = spec.model_dump(mode="json")
    recent = session.execute(
        select(Model.id, Model.spec).order_by(Model.id.desc()).limit(LOOKED_AT)
    ).all()
    alike = [row.id for row in recent if same_shape(row.spec, shape)]
    if not alike:
        return []
    told = session.scalars(
        select(Job.progress)
        .where(Job.model_id.in_(alike), Job.kind == "train", Job.progress.is_not(None))
        .order_by(Job.id.desc())
        .limit(MEASURED)
    )
    speeds = [progress.get("characters_per_second") for progress in told if progress]
    return [speed for speed in speeds if speed]
