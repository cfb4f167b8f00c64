"""Quality over time: preset `default` compared with the classic script and nanoGPT.

Losses are measured from zero states on held-out text. Nietzsche, lower-cased: the 61st character
given 60, on the last 5 %. Tiny Shakespeare: all positions of blocks of 64, on the last 10 %.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import tensorflow as tf

from benchmarks import classic
from benchmarks.peers import nanogpt_recipe
from benchmarks.peers.process import child, need_torch
from benchmarks.support.harness import Options, Row, load_corpus, main, row
from benchmarks.support.held_out import split_tail
from shared.specs.estimates import CorpusSize
from shared.specs.presets import fit_to_budget, resolve_train
from worker.ml.checkpoint import TrainingState
from worker.ml.config import TrainConfig
from worker.ml.holdout import Holdout
from worker.ml.model import pad
from worker.ml.runtime import configure
from worker.ml.training.progress import Validated
from worker.ml.training.step import on_device, train_step
from worker.ml.training.trainer import Trainer
from worker.ml.vectorize import validation_starts, vectorize
from worker.ml.vocabulary import Ids, Vocabulary

THREADS = 2
SEED = 1
#: The script's best epoch is about the 7th; later ones overfit.
SCRIPT_EPOCHS = 9
#: Results of full runs of the peers, for `--quick`, which measures only a share of their time.
SCRIPT_BEST, SCRIPT_BEST_EPOCH = 1.464, 7
NANOGPT_LOSS = 1.886
QUICK_SHARE = 20
#: The length of a training that builds the graphs before the clock starts.
TRIAL_SECONDS = 2.0
#: Ever longer trainings until a loss is reached, as shares of the time that meets the target.
ATTEMPTS = (0.9, 1.5, 3.0, 6.0)


@dataclass(frozen=True)
class Task:
    """A text, and how a network trained on it is evaluated."""

    ids: Ids
    vocabulary: Vocabulary
    held_out: float
    lowercase: bool
    evaluation: dict[str, Any]
    label: str

    def config(self, seconds: float) -> TrainConfig:
        """Configure preset `default` with a budget of `seconds`."""
        # The peers are judged on the tail.
        changes = {"budget": {"seconds": seconds}, "held_out": self.held_out, "holdout": "tail"}
        spec = resolve_train("default", changes, seed=SEED, threads=THREADS, shards=2)
        size = CorpusSize(len(self.ids), len(self.vocabulary))
        spec = fit_to_budget(spec, size, changes)
        return TrainConfig.from_spec(spec.model_dump(), len(self.vocabulary))


@dataclass(frozen=True)
class Trained:
    """One training of Quire: its seconds, and its loss at the end."""

    seconds: float
    loss: float


def nietzsche() -> Task:
    """Load the text as the script reads it."""
    corpus = load_corpus("nietzsche")
    vocabulary, ids = vectorize(corpus.text.lower())
    evaluation = {"predict": "last", "window": 60, "stride": 3}
    return Task(
        ids, vocabulary, 0.05, True, evaluation, f"{corpus.label}, lower-cased, 5 % held out"
    )


def shakespeare() -> Task:
    """Load the text as nanoGPT reads it."""
    corpus = load_corpus("tinyshakespeare")
    vocabulary, ids = vectorize(corpus.text)
    return Task(ids, vocabulary, 0.1, False, {"window": 64}, f"{corpus.label}, 10 % held out")


def evaluate(task: Task, best: TrainingState, train: TrainConfig) -> float:
    """Compute the loss of the checkpoint that would generate texts."""
    config = replace(train, **task.evaluation, batch_size=64, shards=1)
    weights = {name: tf.constant(array) for name, array in pad(best.weights, train.network).items()}
    [starts] = validation_starts(config, Holdout.draw(train, len(task.ids)).pieces)
    step = train_step(config, "xla")
    nats, _, counts = step.evaluate(weights, on_device(task.ids), starts)
    return float(nats.sum(dtype=float)) / int(counts.sum())


def trained(task: Task, seconds: float) -> Trained:
    """Train with a budget of `seconds` after building the graphs, then evaluate."""
    _run(task, TRIAL_SECONDS)
    started = time.perf_counter()
    best, config = _run(task, seconds)
    spent = time.perf_counter() - started
    return Trained(spent, evaluate(task, best, config))


def _run(task: Task, seconds: float) -> tuple[TrainingState, TrainConfig]:
    """Train, and return the best checkpoint by its validations, as the worker keeps it."""
    trainer = Trainer(task.config(seconds), task.ids, task.vocabulary, lowercase=task.lowercase)
    best = trainer.state()
    for event in trainer.run():
        if isinstance(event, Validated) and event.best:
            best = trainer.state()
    return best, trainer.config


def seconds_until(task: Task, loss: float, allowed: float) -> tuple[float, bool]:
    """Measure Quire's seconds until a loss, and whether it reached the loss.

    Args:
        task: The text.
        loss: The peer's loss.
        allowed: The seconds that meet the target.
    """
    for share in ATTEMPTS:
        ours = trained(task, share * allowed)
        if ours.loss <= loss:
            return ours.seconds, True
    return ours.seconds, False


def script(quick: bool) -> tuple[float, float, str]:
    """Measure the seconds to the script's best epoch and its loss; describe the run."""
    description = "peer: the Keras script's fit on the whole one-hot, validation after each epoch"
    with classic.script(classic.prepared(quick)) as pipe:
        epochs: list[tuple[float, float]] = []
        for _ in range(2 if quick else SCRIPT_EPOCHS):
            pipe.send(True)
            epochs.append(pipe.recv())
    if quick:
        # The first epoch builds the graph.
        seconds = epochs[1][0] * classic.QUICK_SHARE * SCRIPT_BEST_EPOCH
        share = f"QUICK: a {classic.QUICK_SHARE}th of an epoch, extrapolated"
        return seconds, SCRIPT_BEST, f"{description}; {share}; its loss is that of a full run"
    best = min(range(len(epochs)), key=lambda each: epochs[each][1])
    seconds = sum(spent for spent, _ in epochs[: best + 1])
    return seconds, epochs[best][1], f"{description}, best at epoch {best + 1} of {SCRIPT_EPOCHS}"


def nanogpt(task: Task, quick: bool) -> tuple[float, float, str]:
    """Measure the seconds of nanoGPT's recipe and its loss; describe the run."""
    steps = nanogpt_recipe.STEPS // (QUICK_SHARE if quick else 1)
    train, tail = split_tail(task.ids, task.config(1))
    with child(nanogpt_recipe.run, train, tail, len(task.vocabulary), steps) as pipe:
        seconds, loss = pipe.recv()
    description = f"peer: nanoGPT's recipe for a CPU in PyTorch, {nanogpt_recipe.STEPS:,} steps"
    if quick:
        share = f"QUICK: a {QUICK_SHARE}th, extrapolated"
        return (
            seconds * QUICK_SHARE,
            NANOGPT_LOSS,
            f"{description}; {share}; its loss is a full run's",
        )
    return seconds, loss, description


def to_loss(name: str, task: Task, peer: tuple[float, float, str], target: float) -> Row:
    """Measure the seconds until the peer's loss."""
    seconds, loss, description = peer
    spent, reached = seconds_until(task, loss, seconds / target)
    description = f"{task.label}; {description}; seconds to its loss of {loss:.4f}, {_ours()}"
    if not reached:
        description += "; ours did not reach it"
    return row(name, [spent], [seconds], "s", target, description, also=reached)


def at_time(name: str, task: Task, seconds: float, bound: float, quick: bool) -> Row:
    """Measure the loss after a time, compared with a limit."""
    ours = trained(task, seconds / (QUICK_SHARE if quick else 1))
    description = (
        f"{task.label}; instead of a peer, the limit is {bound} after {seconds:.0f} s; {_ours()}"
    )
    description += f"; {ours.seconds:.1f} s spent"
    if quick:
        description += f"; QUICK: ours had only a {QUICK_SHARE}th of the time"
    return row(name, [ours.loss], [bound], "nats", 1, description)


def _ours() -> str:
    return (
        "ours: preset default in worker/ml/training/trainer.py with the time as its `budget`, the "
        "best checkpoint by its validations, whose time counts, graphs built before"
    )


def measure(options: Options) -> list[Row]:
    """Measure each peer, then Quire."""
    need_torch()
    configure(threads=THREADS, device="cpu")
    quick = options.quick
    book, plays = nietzsche(), shakespeare()

    @cache
    def recipe() -> tuple[float, float, str]:
        return nanogpt(plays, quick)

    rows: dict[str, Callable[[str], Row]] = {
        "quality/nietzsche_script_best": lambda name: to_loss(name, book, script(quick), 30),
        "quality/nietzsche_90s": lambda name: at_time(name, book, 90, 1.30, quick),
        "quality/shakespeare_nanogpt_loss": lambda name: to_loss(name, plays, recipe(), 12),
        "quality/shakespeare_equal_time": lambda name: at_time(
            name, plays, recipe()[0], 1.56, quick
        ),
        "quality/shakespeare_300s": lambda name: at_time(name, plays, 300, 1.50, quick),
    }
    return [make(name) for name, make in rows.items() if options.wants(name)]


if __name__ == "__main__":
    main("Training: quality over time", measure)
