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
from worker.ml.crossover import measure_crossover
from worker.ml.model import initial_weights
from worker.ml.sampling.sampler import Sampler
from worker.ml.sampling.stack import warm_up_stacks
from worker.ml.training.trainer import Trainer
from worker.ml.vectorize import vectorize

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


def find_crossover(processor: Processor) -> int:
    """From which work on a GPU writes faster than the CPU, measured with the default preset.

    Returns:
        Multiply-adds of a step; 0 for a processor that has no other beside it.
    """
    if processor == "cpu":
        return 0
    found = measure_crossover(_default_sampler(processor))
    microseconds = {
        str(rows): [round(1e6 * seconds, 1) for seconds in both]
        for rows, both in found.step_seconds.items()
    }
    log.info(
        "crossover_measured",
        streams=found.streams,
        multiply_adds=found.multiply_adds,
        step_microseconds_of_cpu_and_gpu=microseconds,
    )
    return found.multiply_adds


def warm_generate(
    engine: Engine, models: ModelCache, processor: Processor, *, newest: int, crossover: int = 0
) -> None:
    """Compile the newest models' graphs, or without a model the default preset's.

    The newest comes last, so that it stays in a cache that does not hold all of them.

    Args:
        engine: The database.
        models: The cache of models, which is filled.
        processor: What TensorFlow runs on.
        newest: How many of the newest models.
        crossover: From `find_crossover`; what may go to the CPU is compiled there too.
    """
    warmed = 0
    for checkpoint_id in reversed(_newest(engine, newest)):
        try:
            _warm(models.get(checkpoint_id).sampler, crossover)
            warmed += 1
        except Exception as error:
            # A job that uses this checkpoint will report what is wrong with it.
            log.warning("not_warmed", checkpoint=checkpoint_id, reason=str(error))
    if not warmed:
        _warm(_default_sampler(processor), crossover)


def _default_sampler(processor: Processor) -> Sampler:
    numbers = PRESETS["default"]
    network = NetworkConfig(
        vocabulary_size=TYPICAL_VOCABULARY,
        embedding=numbers.embedding,
        units=numbers.units,
        layers=numbers.layers,
        window=None,
    )
    return make_sampler(initial_weights(network, seed=0), network, processor)


def _warm(sampler: Sampler, crossover: int) -> None:
    if sampler.shape.gpu and replace(sampler.shape, rows=1).multiply_adds < crossover:
        _warm(sampler.on_cpu, 0)
    for rows in sampler.buckets:
        sampler.warm_up(rows)
    sampler.warm_up(filtered=True)
    if sampler.stackable:
        warm_up_stacks(sampler)


def warm_novelty(engine: Engine, corpora: Corpora, *, newest: int) -> None:
    """Index the newest models' corpora, so that their first text need not wait for it."""
    models = select(Model.corpus_id, Model.spec).order_by(Model.created_at.desc())
    try:
        with reading(engine) as connection:
            found = connection.execute(models.limit(newest)).all()
        # The newest last, as the models.
        for corpus_id, spec in reversed(found):
            corpora.index(corpus_id, lowercase=spec["lowercase"])
    except DATABASE_AWAY as error:
        log.warning("database_away", reason=driver_message(error))


def _newest(engine: Engine, count: int) -> list[str]:
    try:
        with reading(engine) as connection:
            models = connection.scalars(
                select(Model.id).order_by(Model.created_at.desc()).limit(count)
            ).all()
            found = [resolve(connection, model_id, "best") for model_id in models]
    except DATABASE_AWAY as error:
        log.warning("database_away", reason=driver_message(error))
        return []
    return [checkpoint_id for checkpoint_id in found if checkpoint_id is not None]
