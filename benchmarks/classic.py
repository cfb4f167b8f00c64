"""An epoch of the classic recipe: Quire's trainer and the script's own `model.fit`."""

import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from benchmarks.support.harness import Options, Row, load_corpus, main, row
from benchmarks.support.held_out import split_tail
from shared.specs.presets import resolve_train
from worker.ml.config import TrainConfig
from worker.ml.runtime import configure
from worker.ml.training.progress import EpochEnd
from worker.ml.training.trainer import Trainer
from worker.ml.vectorize import vectorize
from worker.ml.vocabulary import Ids, Vocabulary

EPOCHS = 2
THREADS = 2
SEED = 1
#: The allowed increase of the validation loss after two epochs, in nats.
LOSS_TOLERANCE = 0.05
QUICK_SHARE = 10


@dataclass(frozen=True)
class Task:
    """The input of both: the same ids, in the same windows."""

    config: TrainConfig
    vocabulary: Vocabulary
    ids: Ids
    label: str


def prepared(quick: bool) -> Task:
    """Load the corpus as `classic` reads it; when quick, its first tenth and the full tail."""
    corpus = load_corpus("nietzsche")
    text, label = corpus.text.lower(), f"{corpus.label}, lower-cased, last 5 % held out"
    held_out = 0.05
    if quick:
        tail = int(len(text) * held_out)
        text = text[: len(text) // QUICK_SHARE] + text[-tail:]
        held_out = (tail + 0.5) / len(text)
        label += f"; QUICK: a {QUICK_SHARE}th of the windows, full tail"
    vocabulary, ids = vectorize(text)
    spec = resolve_train("classic", {"epochs": EPOCHS}, seed=SEED, threads=THREADS, shards=2)
    config = TrainConfig.from_spec(spec.model_dump(), len(vocabulary))
    return Task(replace(config, held_out=held_out), vocabulary, ids, label)


def one_hot(ids: Ids, size: int, window: int, stride: int) -> tuple[Any, Any]:
    """Build the script's x [n, window, V] and y [n, V], bool, of the whole text."""
    starts = np.arange(0, len(ids) - window, stride)
    x = np.zeros((len(starts), window, size), dtype=bool)
    for t in range(window):
        x[np.arange(len(starts)), t, ids[starts + t]] = True
    y = np.zeros((len(starts), size), dtype=bool)
    y[np.arange(len(starts)), ids[starts + window]] = True
    return x, y


def run_script(pipe: Connection, task: Task) -> None:
    """Run the peer in its process, as its user would: with none of Quire's settings."""
    import keras

    config = task.config
    train, tail = split_tail(task.ids, config)
    size = len(task.vocabulary)
    x, y = one_hot(train, size, config.window, config.stride)
    validation = one_hot(tail, size, config.window, config.stride)
    keras.utils.set_random_seed(SEED)
    model = keras.Sequential(
        [
            keras.Input(shape=(config.window, size)),
            keras.layers.LSTM(config.network.units),
            keras.layers.Dense(size, activation="softmax"),
        ]
    )
    model.compile(
        loss="categorical_crossentropy",
        optimizer=keras.optimizers.RMSprop(learning_rate=config.learning_rate),
    )
    pipe.send(None)
    while pipe.recv():
        started = time.perf_counter()
        fitted = model.fit(
            x, y, batch_size=config.batch_size, epochs=1, validation_data=validation, verbose=0
        )
        pipe.send((time.perf_counter() - started, fitted.history["val_loss"][0]))


@contextmanager
def script(task: Task) -> Iterator[Connection]:
    """Start the peer; it answers each True with an epoch's seconds and loss."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=run_script, args=(there, task))
    process.start()
    try:
        here.recv()
        yield here
        here.send(False)
        process.join()
    finally:
        process.kill()


def our_epochs(task: Task) -> Iterator[tuple[float, float]]:
    """Yield the seconds and the validation loss of each epoch."""
    trainer = Trainer(task.config, task.ids, task.vocabulary, lowercase=True)
    started = time.perf_counter()
    for event in trainer.run():
        if isinstance(event, EpochEnd):
            yield time.perf_counter() - started, event.val_loss
            started = time.perf_counter()


def measure(options: Options) -> list[Row]:
    """Measure two epochs of each, alternating."""
    configure(threads=THREADS, device="cpu")
    task = prepared(options.quick)
    mine = our_epochs(task)
    seconds: list[float] = []
    peer_seconds: list[float] = []
    loss = peer_loss = 0.0
    with script(task) as peer:
        for _ in range(EPOCHS):
            peer.send(True)
            spent, peer_loss = peer.recv()
            peer_seconds.append(spent)
            spent, loss = next(mine)
            seconds.append(spent)
    description = (
        f"{task.label}; peer: Sequential([LSTM(128), Dense(softmax)]).fit on the whole one-hot, "
        "RMSprop 0.01, batch 128, in its own process; ours: preset classic, 2 shards; both build "
        "their graphs in the first epoch and validate after each"
    )
    tolerated = peer_loss / (peer_loss + LOSS_TOLERANCE)
    return [
        row("classic/epoch", seconds, peer_seconds, "s", 1, description),
        row(
            "classic/val_loss_2_epochs",
            [loss],
            [peer_loss],
            "nats",
            tolerated,
            f"{description}; at most {LOSS_TOLERANCE} higher: {loss - peer_loss:+.3f}",
        ),
    ]


if __name__ == "__main__":
    main("Classic: seconds per epoch, and the loss after two", measure)
