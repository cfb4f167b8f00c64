"""Admission: check that a training fits on a worker before it is queued."""

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from api.errors import DoesNotFit
from api.permissions import current_user
from api.services import services
from shared.clock import database_now
from shared.scheduling.pooling import own, pooled
from shared.specs.estimates import CorpusSize, Estimate, Processor, estimate, same_shape
from shared.specs.limits import ResourceLimits, find_exceeded_limit
from shared.specs.training import TrainSpec
from shared.tables import Corpus, Device, Job, Model
from shared.worker_registry import is_alive

#: How many recent models are searched for the same shape, and how many speeds are used.
RECENT_MODELS = 100
MAX_SPEEDS = 5
#: A shorter run spent much of its time compiling, so its speed says little.
MIN_RUN_SECONDS = 20.0
#: Alphabets whose sizes differ by at most this factor are equally fast.
SIMILAR_SIZE_RATIO = 2.0


def admit(
    session: Session, corpus: Corpus, spec: TrainSpec, text: CorpusSize, fixed: Collection[str] = ()
) -> Estimate:
    """Estimate a training, and refuse one that no worker could run.

    Args:
        session: The session to look up earlier trainings in.
        corpus: The corpus.
        spec: The complete training spec.
        text: The sizes of the text and its alphabet.
        fixed: Fields of the spec that can't be lowered.

    Raises:
        DoesNotFit: It needs more than a worker has. The message names the field to lower.
    """
    settings = services().settings
    workers = _train_workers(session)
    bounds = ResourceLimits(
        settings.train_memory_bytes // workers.slots,
        settings.train_max_seconds,
        workers.gpu_memory_bytes,
    )
    speeds = _speeds(session, spec, text, workers)
    excess = find_exceeded_limit(spec, text, bounds, speeds, fixed)
    if excess is None:
        return estimate(spec, text, speeds, workers.processor)
    value: object = corpus.id if excess.field == "corpus" else getattr(spec, excess.field)
    advice = f"Lower {excess.field} to {excess.maximum}"
    if excess.maximum is None:
        advice = "Use a smaller network and a shorter text"
    elif spec.budget is not None and excess.field == "budget":
        value, advice = spec.budget.model_dump(), f"Lower its seconds to {excess.maximum}"
    raise DoesNotFit(excess.field, value, f"{excess.reason}. {advice}")


@dataclass(frozen=True, slots=True)
class _TrainWorkers:
    """The devices that train at present.

    Attributes:
        kinds: What they are: ``cpu``, or the names of GPUs.
        gpu_memory_bytes: The smallest memory that a GPU has for a training, since any of them may
            take it; None if a training may run on a CPU.
        slots: The most trainings that share a device, and so its machine's memory.
        kind_of: The kind of each worker that is known, by its id.
    """

    kinds: frozenset[str]
    gpu_memory_bytes: int | None
    slots: int
    kind_of: dict[str, str]

    @property
    def processor(self) -> Processor:
        return "cpu" if self.gpu_memory_bytes is None else "gpu"


def _speeds(
    session: Session, spec: TrainSpec, text: CorpusSize, workers: _TrainWorkers
) -> list[float]:
    """Return the speeds in characters per second of like trainings on the present devices.

    A card's speed says nothing of another model's.

    The user's own count exactly. Those of others are pooled, since an estimate would otherwise
    tell the speed of another user's private training.
    """
    shape = spec.model_dump(mode="json")
    recent = session.execute(
        select(Model.id, Model.spec, Model.vocabulary_size)
        .order_by(Model.id.desc())
        .limit(RECENT_MODELS)
    ).all()
    similar = [
        row.id
        for row in recent
        if same_shape(row.spec, shape, workers.processor)
        and (spec.tokenizer == "word" or _similar(row.vocabulary_size, text.alphabet_size))
    ]
    if not similar:
        return []
    measured = session.execute(
        select(Job.user_id, Job.progress, Job.worker_id)
        .where(
            Job.model_id.in_(similar),
            Job.kind == "train",
            Job.progress.is_not(None),
            Job.ran_seconds >= MIN_RUN_SECONDS,
        )
        .order_by(Job.id.desc())
    ).all()
    speeds = [
        (row.user_id, speed)
        for row in measured
        if (speed := row.progress.get("characters_per_second"))
        and (not workers.kinds or _kind(row.worker_id, workers) in workers.kinds)
    ]
    if mine := own(speeds, current_user().id):
        return mine[:MAX_SPEEDS]
    of_others = pooled(speeds)
    return [] if of_others is None else [of_others]


def _train_workers(session: Session) -> _TrainWorkers:
    now, lease = database_now(session.connection()), services().settings.lease_seconds
    devices = session.scalars(select(Device).where(Device.lane == "train")).all()
    alive = [device for device in devices if is_alive(device, now, lease)]
    on_gpu = bool(alive) and all(device.gpu_memory_bytes for device in alive)
    return _TrainWorkers(
        kinds=frozenset(_kind_of(device) for device in alive),
        gpu_memory_bytes=min(d.gpu_memory_bytes or 0 for d in alive) if on_gpu else None,
        slots=max((device.slots for device in alive), default=1),
        kind_of={device.id: _kind_of(device) for device in devices},
    )


def _kind_of(device: Device) -> str:
    return device.gpu_name or _type_in(device.id)


def _kind(worker_id: str, workers: _TrainWorkers) -> str:
    """The kind of the worker of an earlier job; only ``cpu`` or ``gpu`` if it is gone."""
    return workers.kind_of.get(worker_id) or _type_in(worker_id)


def _type_in(worker_id: str) -> str:
    """Return ``cpu`` or ``gpu`` from an id such as ``host/gpu:0/train``."""
    return worker_id.rsplit("/", 2)[1].partition(":")[0]


def _similar(size: int, other: int) -> bool:
    return max(size, other) <= SIMILAR_SIZE_RATIO * min(size, other)
