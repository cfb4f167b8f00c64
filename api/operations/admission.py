"""Whether a training fits, asked before it is queued."""

from collections.abc import Collection

from sqlalchemy import select
from sqlalchemy.orm import Session

from api.errors import DoesNotFit
from api.services import services
from shared.clock import database_now
from shared.specs.estimates import CorpusSize, Estimate, estimate, same_shape
from shared.specs.limits import ResourceLimits, find_exceeded_limit
from shared.specs.presets import TrainSpec
from shared.tables import Corpus, Device, Job, Model
from shared.worker_registry import is_alive

#: How far back trainings of the same shape are looked for, and how many say how fast it is.
LOOKED_AT = 100
MEASURED = 5
#: What ran for less was compiling for much of it, which its one figure of speed may hold.
LEAST_RAN_SECONDS = 20.0
#: Two alphabets of which one is at most so much larger are as fast as each other.
SIMILAR_SIZES = 2.0


def admit(
    session: Session, corpus: Corpus, spec: TrainSpec, text: CorpusSize, fixed: Collection[str] = ()
) -> Estimate:
    """What a training will take.

    Args:
        session: Where earlier ones are found.
        corpus: Of the training.
        spec: All its numbers.
        text: What it reads.
        fixed: Numbers that can't be lowered.

    Raises:
        DoesNotFit: More than a worker has, with the number to lower.
    """
    settings = services().settings
    bounds = ResourceLimits(settings.train_memory_bytes, settings.train_max_seconds)
    speeds = _speeds(session, spec, text)
    refused = find_exceeded_limit(spec, text, bounds, speeds, fixed)
    if refused is None:
        return estimate(spec, text, speeds)
    value: object = corpus.id if refused.field == "corpus" else getattr(spec, refused.field)
    way_out = f"lower {refused.field} to {refused.maximum}"
    if refused.maximum is None:
        way_out = "take a smaller network and a shorter text"
    elif spec.budget is not None and refused.field == "budget":
        value, way_out = spec.budget.model_dump(), f"lower its seconds to {refused.maximum}"
    raise DoesNotFit(refused.field, value, f"{refused.reason}: {way_out}")


def _speeds(session: Session, spec: TrainSpec, text: CorpusSize) -> list[float]:
    """Characters per second that trainings of the same shape had, on what trains now."""
    shape = spec.model_dump(mode="json")
    recent = session.execute(
        select(Model.id, Model.spec, Model.vocabulary_size)
        .order_by(Model.id.desc())
        .limit(LOOKED_AT)
    ).all()
    alike = [
        row.id
        for row in recent
        if same_shape(row.spec, shape)
        and (spec.tokenizer == "word" or _similar(row.vocabulary_size, text.alphabet_size))
    ]
    if not alike:
        return []
    told = session.execute(
        select(Job.progress, Job.ran_seconds, Job.worker_id)
        .where(
            Job.model_id.in_(alike),
            Job.kind == "train",
            Job.progress.is_not(None),
            Job.ran_seconds >= LEAST_RAN_SECONDS,
        )
        .order_by(Job.id.desc())
    ).all()
    kinds = _kinds(session)
    speeds = [
        row.progress.get("characters_per_second")
        for row in told
        if not kinds or _kind(row.worker_id) in kinds
    ]
    return [speed for speed in speeds if speed][:MEASURED]


def _kinds(session: Session) -> set[str]:
    """Of the devices that train now."""
    now, lease = database_now(session.connection()), services().settings.lease_seconds
    devices = session.scalars(select(Device).where(Device.lane == "train"))
    return {_kind(device.id) for device in devices if is_alive(device, now, lease)}


def _kind(worker_id: str) -> str:
    """``cpu`` or ``gpu``: of ``host/gpu:0/train``."""
    return worker_id.rsplit("/", 2)[1].partition(":")[0]


def _similar(one: int, other: int) -> bool:
    return max(one, other) <= SIMILAR_SIZES * min(one, other)
