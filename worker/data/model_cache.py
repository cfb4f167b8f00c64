"""Models that are ready to generate, kept in memory by their checkpoint."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from cachetools import LRUCache
from sqlalchemy import Engine, select

from shared.database import reading
from shared.scheduling.network_memory import check_network
from shared.tables import Checkpoint as Row
from worker.data import checkpoints
from worker.data.lru import bounded_cache
from worker.ml.config import NetworkConfig
from worker.ml.sampling.sampler import Sampler
from worker.ml.training.step import Backend
from worker.ml.vocabulary import Vocabulary

Processor = Literal["cpu", "gpu"]
#: A sampler folds its weights, which takes up to about twice their size.
COPIES = 2


def backend_of(processor: Processor) -> Backend:
    """What computes a training's gradients: on a GPU Keras' layers, which run on cuDNN."""
    return "keras" if processor == "gpu" else "xla"


def make_sampler(
    weights: Mapping[str, Any], network: NetworkConfig, processor: Processor
) -> Sampler:
    """A sampler for a processor: exact to the bit on a CPU, in matrix products on a GPU."""
    return Sampler(weights, network, exact=processor == "cpu")


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A checkpoint in memory, ready to generate.

    Attributes:
        sampler: Its network.
        vocabulary: What its tokens mean.
        lowercase: Whether it was trained on lower-cased text.
        window: Tokens of context, for a network that has a window.
        size_bytes: Memory that it takes, roughly.
    """

    sampler: Sampler
    vocabulary: Vocabulary
    lowercase: bool
    window: int | None
    size_bytes: int


class ModelCache:
    """Loaded models by checkpoint; the least recently used are evicted first.

    Jobs keep a reference to their model, so an evicted model lives until they finish.

    Args:
        engine: The database.
        processor: What TensorFlow runs on.
        max_bytes: The most that all models may take. One model is kept however large it is.
        memory_bytes: The most that loading one may take; None for no bound.
    """

    def __init__(
        self,
        engine: Engine,
        processor: Processor,
        max_bytes: int,
        memory_bytes: int | None = None,
    ) -> None:
        self._engine = engine
        self._processor: Processor = processor
        self._memory_bytes = memory_bytes
        self._models: LRUCache[str, LoadedModel] = bounded_cache(
            max_bytes, lambda model: model.size_bytes
        )

    def get(self, checkpoint_id: str) -> LoadedModel:
        """The model of a checkpoint, loaded if it is not in memory.

        Raises:
            shared.blobs.MissingBlob: The checkpoint's bytes are not in the database.
            shared.blobs.CorruptBlob: The bytes have changed.
            BadCheckpoint: The bytes are not a checkpoint.
            NetworkTooLarge: Loading it would take more memory than there is.
            worker.ml.sampling.sampler.NonFiniteWeights: The checkpoint's training had diverged.
        """
        model = self._models.get(checkpoint_id)
        if model is None:
            model = self._models[checkpoint_id] = self._load(checkpoint_id)
        return model

    def _load(self, checkpoint_id: str) -> LoadedModel:
        with reading(self._engine) as connection:
            row = connection.execute(
                select(Row.sha256, Row.size_bytes).where(Row.id == checkpoint_id)
            ).one()
        if self._memory_bytes is not None:
            check_network(row.size_bytes, self._memory_bytes)
        state = checkpoints.load(self._engine, row.sha256)
        return LoadedModel(
            sampler=make_sampler(state.weights, state.network, self._processor),
            vocabulary=state.vocabulary,
            lowercase=state.lowercase,
            window=state.network.window,
            size_bytes=COPIES * sum(array.nbytes for array in state.weights.values()),
        )
