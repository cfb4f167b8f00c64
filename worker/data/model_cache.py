"""Networks that are ready to write, kept in memory by the checkpoint they come from."""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Engine, select

from shared.database import reading
from shared.tables import Checkpoint as Row
from worker.data import checkpoints
from worker.ml.config import NetworkConfig
from worker.ml.sampling.sampler import Sampler
from worker.ml.training.step import Backend
from worker.ml.vocabulary import Vocabulary

Processor = Literal["cpu", "gpu"]
#: A writer holds its weights folded, which takes up to about twice their size.
COPIES = 2


def backend_of(processor: Processor) -> Backend:
    """Who computes a training's gradients: on a GPU Keras' layers, which run on cuDNN."""
    return "keras" if processor == "gpu" else "xla"


def make_sampler(
    weights: Mapping[str, Any], network: NetworkConfig, processor: Processor
) -> Sampler:
    """A sampler as it suits what TensorFlow runs on: to the bit on a CPU, in products on a GPU."""
    return Sampler(weights, network, exact=processor == "cpu")


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A checkpoint that writes.

    Attributes:
        size_bytes: What it holds of the memory, roughly.
    """

    sampler: Sampler
    vocabulary: Vocabulary
    lowercase: bool
    window: int | None
    size_bytes: int


class ModelCache:
    """Writers by checkpoint, up to `kept_bytes`; the least recently used go first.

    One whose texts are being written stays with them for as long as they need it.
    """

    def __init__(self, engine: Engine, processor: Processor, kept_bytes: int) -> None:
        self._engine = engine
        self._processor: Processor = processor
        self._kept_bytes = kept_bytes
        self._loaded: OrderedDict[str, LoadedModel] = OrderedDict()

    def get(self, checkpoint_id: str) -> LoadedModel:
        """The writer of a checkpoint, loaded if need be.

        Raises:
            shared.blobs.MissingBlob: Its bytes are not in the database.
            shared.blobs.CorruptBlob: They have changed.
            BadCheckpoint: They are no checkpoint.
            worker.ml.sampling.sampler.NonFiniteWeights: Its training had diverged.
        """
        writer = self._loaded.get(checkpoint_id)
        if writer is not None:
            self._loaded.move_to_end(checkpoint_id)
            return writer
        self._loaded[checkpoint_id] = writer = self._load(checkpoint_id)
        while len(self._loaded) > 1 and self._held() > self._kept_bytes:
            self._loaded.popitem(last=False)
        return writer

    def _held(self) -> int:
        return sum(writer.size_bytes for writer in self._loaded.values())

    def _load(self, checkpoint_id: str) -> LoadedModel:
        with reading(self._engine) as connection:
            sha256 = connection.scalars(select(Row.sha256).where(Row.id == checkpoint_id)).one()
        state = checkpoints.load(self._engine, sha256)
        return LoadedModel(
            sampler=make_sampler(state.weights, state.network, self._processor),
            vocabulary=Vocabulary(state.characters, state.words),
            lowercase=state.lowercase,
            window=state.network.window,
            size_bytes=COPIES * sum(array.nbytes for array in state.weights.values()),
        )
