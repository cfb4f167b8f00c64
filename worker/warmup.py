"""Builds graphs and indexes before the first job, which then need not wait for them."""

from dataclasses import replace

import structlog
from sqlalchemy import Engine, select

from shared.checkpoint_aliases import resolve
from shared.database import reading
from shared.specs.presets import PRESETS
from shared.tables import Model
from worker.data.corpora import Corpora
from worker.data.model_cache import ModelCache, Processor, backend_of, make_sampler
from worker.execution.outages import DATABASE_AWAY, driver_message
from worker.ml.config import NetworkConfig, TrainConfig
from worker.ml.model import initial_weights
from worker.ml.sampling.sampler import Sampler
from worker.ml.sampling.stack import warm_up_stacks
from worker.ml.training.trainer import Trainer
from worker.ml.vectorize import vectorize

#: How many of the newest models are loaded in advance.
WARM_MODELS = 4
#: A typical alphabet: both cases, digits and punctuation.
TYPICAL_VOCABULARY = 96
#: The corpus of the warm-up training: one window to learn from, and one to validate on.
WARM_TEXT = "the quick brown fox jumps over the lazy dog. " * 20

log = structlog.get_logger(__name__)


def warm_train(processor: Processor, threads: int) -> None:
    """Run a few steps of a small training, so that TensorFlow and its compiler are loaded."""
    numbers = PRESETS["default"].model_dump() | {"window": 16, "units": 32, "epochs": 1}
    vocabulary, ids = vectorize(WARM_TEXT)
    spec = numbers | {"held_out": 0.1, "seed": 0, "shards": 1, "threads": threads}
    config = replace(TrainConfig.from_spec(spec, len(vocabulary)), batch_size=4)
    trainer = Trainer(config, ids, vocabulary, backend=backend_of(processor))
    for _event in trainer.run():
        pass


def warm_generate(engine: Engine, models: ModelCache, processor: Processor) -> None:
    """Compile the newest models' graphs, or without a model the default preset's."""
    warmed = 0
    for checkpoint_id in _newest(engine):
        try:
            _warm(models.get(checkpoint_id).sampler)
            warmed += 1
        except Exception as error:
            # A job that uses this checkpoint will report what is wrong with it.
            log.warning("not_warmed", checkpoint=checkpoint_id, reason=str(error))
    if not warmed:
        numbers = PRESETS["default"]
        network = NetworkConfig(
            vocabulary_size=TYPICAL_VOCABULARY,
            embedding=numbers.embedding,
            units=numbers.units,
            layers=numbers.layers,
            window=None,
        )
        _warm(make_sampler(initial_weights(network, seed=0), network, processor))


def _warm(sampler: Sampler) -> None:
    for rows in sampler.buckets:
        sampler.warm_up(rows)
    sampler.warm_up(filtered=True)
    if sampler.stackable:
        warm_up_stacks(sampler)


def warm_novelty(engine: Engine, corpora: Corpora) -> None:
    """Index the newest models' corpora, so that their first text need not wait for it."""
    newest = select(Model.corpus_id, Model.spec).order_by(Model.created_at.desc())
    try:
        with reading(engine) as connection:
            found = connection.execute(newest.limit(WARM_MODELS)).all()
        for corpus_id, spec in found:
            corpora.index(corpus_id, lowercase=spec["lowercase"])
    except DATABASE_AWAY as error:
        log.warning("database_away", reason=driver_message(error))


def _newest(engine: Engine) -> list[str]:
    try:
        with reading(engine) as connection:
            models = connection.scalars(
                select(Model.id).order_by(Model.created_at.desc()).limit(WARM_MODELS)
            ).all()
            found = [resolve(connection, model_id, "best") for model_id in models]
    except DATABASE_AWAY as error:
        log.warning("database_away", reason=driver_message(error))
        return []
    return [checkpoint_id for checkpoint_id in found if checkpoint_id is not None]
