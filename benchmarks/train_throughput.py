"""Characters per second of a training step: Quire's, and PyTorch's `nn.LSTM`."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection

import numpy as np

from benchmarks.peers.process import child, need_torch
from benchmarks.support.harness import ROUNDS, Options, Row, interleave, load_corpus, main, row
from shared.specs.presets import resolve_train
from worker.ml.config import TrainConfig
from worker.ml.vectorize import vectorize
from worker.ml.vocabulary import Ids

THREADS = 2
SEED = 1
EMBEDDING = 64
ROUND_SECONDS = 3.0
QUICK_ROUNDS = 3
QUICK_ROUND_SECONDS = 0.6
#: The seconds of steps in one call, as in worker/ml/training/progress.py.
CALL_SECONDS = 0.2
WARM_UP_STEPS = 3


@dataclass(frozen=True)
class Shape:
    """One row: the network, and the ratio that it must reach."""

    units: int
    batch: int
    steps: int
    target: float

    @property
    def name(self) -> str:
        """The name of the row."""
        return f"train/{self.units}x{self.batch}x{self.steps}"


SHAPES = (
    Shape(128, 64, 64, 1.2),
    Shape(192, 16, 96, 1.2),
    Shape(256, 64, 64, 1.2),
    Shape(512, 32, 128, 1.25),
)


def measured(run: Callable[[int], None], characters: int, seconds: float) -> float:
    """Measure the characters per second of `run(steps)` for about `seconds`."""
    started = time.perf_counter()
    run(WARM_UP_STEPS)
    step_seconds = (time.perf_counter() - started) / WARM_UP_STEPS
    steps = max(1, int(CALL_SECONDS / step_seconds))
    done, started = 0, time.perf_counter()
    while (spent := time.perf_counter() - started) < seconds:
        run(steps)
        done += steps
    return done * characters / spent


def serve(pipe: Connection, make: Callable[[Shape], Callable[[int], None]]) -> None:
    """Answer `(shape, seconds)` with a speed; each shape is built and warmed up once."""
    made: dict[Shape, Callable[[int], None]] = {}
    while True:
        shape, seconds = pipe.recv()
        if shape not in made:
            made[shape] = make(shape)
            for steps in (1, WARM_UP_STEPS, WARM_UP_STEPS):
                made[shape](steps)
        pipe.send(measured(made[shape], shape.batch * shape.steps, seconds))


def serve_ours(pipe: Connection, ids: Ids, vocabulary_size: int) -> None:
    """Serve Quire's step as its worker runs it: many steps per call, two shards, one update."""
    import tensorflow as tf

    from worker.ml.model import initial_weights, pad
    from worker.ml.runtime import configure
    from worker.ml.training.optimizer import initial_slots, step_numbers
    from worker.ml.training.step import on_device, train_step

    configure(threads=THREADS, device="cpu")
    text = on_device(ids)

    def make(shape: Shape) -> Callable[[int], None]:
        changes = {"units": shape.units, "batch_size": shape.batch, "window": shape.steps}
        spec = resolve_train(
            "default",
            {**changes, "layers": 1, "embedding": EMBEDDING, "average_decay": None, "dropout": 0},
            seed=SEED,
            threads=THREADS,
            shards=2,
        )
        config = TrainConfig.from_spec(spec.model_dump(), vocabulary_size)
        weights = initial_weights(config.network, SEED)
        arrays = pad({**weights, **initial_slots(config, weights)}, config.network)
        state = {name: tf.constant(array) for name, array in arrays.items()}
        step = train_step(config, "xla")
        random = np.random.default_rng(SEED)

        def run(steps: int) -> None:
            nonlocal state
            starts = random.integers(
                0, len(ids) - shape.steps - 1, (steps, shape.batch), dtype=np.int32
            )
            state, losses = step.train(state, text, starts, step_numbers(config, range(steps), 100))
            assert np.isfinite(losses).all()

        return run

    serve(pipe, make)


def serve_torch(pipe: Connection, ids: Ids, vocabulary_size: int) -> None:
    """Serve the peer: what a competent PyTorch user writes for a CPU, on all cores, uncompiled."""
    import torch
    from torch import nn

    text = torch.from_numpy(ids.astype(np.int64))

    class Network(nn.Module):  # type: ignore[misc]  # PyTorch may not be installed
        def __init__(self, units: int) -> None:
            super().__init__()
            self.embedding = nn.Embedding(vocabulary_size, EMBEDDING)
            self.lstm = nn.LSTM(EMBEDDING, units, batch_first=True)
            self.head = nn.Linear(units, vocabulary_size)

        def forward(self, characters: torch.Tensor) -> torch.Tensor:
            hidden, _ = self.lstm(self.embedding(characters))
            scores: torch.Tensor = self.head(hidden)
            return scores

    def make(shape: Shape) -> Callable[[int], None]:
        torch.manual_seed(SEED)
        network = Network(shape.units)
        optimizer = torch.optim.Adam(network.parameters(), lr=2e-3, betas=(0.9, 0.99))
        places = torch.arange(shape.steps + 1)

        def run(steps: int) -> None:
            for _ in range(steps):
                starts = torch.randint(len(text) - shape.steps - 1, (shape.batch, 1))
                windows = text[starts + places]
                scores = network(windows[:, :-1])
                loss = nn.functional.cross_entropy(
                    scores.reshape(-1, vocabulary_size), windows[:, 1:].reshape(-1)
                )
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                nn.utils.clip_grad_norm_(network.parameters(), 1.0)
                optimizer.step()
            assert torch.isfinite(loss)

        return run

    serve(pipe, make)


def measure(options: Options) -> list[Row]:
    """Measure every shape, alternating round by round."""
    need_torch()
    corpus = load_corpus("nietzsche")
    corpus = replace(corpus, text=corpus.text.lower())
    vocabulary, ids = vectorize(corpus.text)
    seconds = QUICK_ROUND_SECONDS if options.quick else ROUND_SECONDS
    description = (
        f"{corpus.label}, lower-cased; peer: PyTorch nn.Embedding({EMBEDDING}), nn.LSTM "
        "(batch_first), nn.Linear, cross entropy, Adam, clip_grad_norm_ 1, all cores, in its own "
        "process, alternating with ours; ours: worker/ml/training/step.py, the same network and "
        f"optimizer, {THREADS} threads, 2 shards; {seconds} s per round, graphs built before"
    )
    if options.quick:
        description += "; QUICK: shorter and fewer rounds"
    rows = []
    with (
        child(serve_ours, ids, len(vocabulary)) as ours,
        child(serve_torch, ids, len(vocabulary)) as peer,
    ):
        for shape in SHAPES:
            for pipe in (peer, ours):
                ask(pipe, shape, 0.0 if options.quick else 1.0)
            mine, theirs = interleave(
                lambda shape=shape: ask(ours, shape, seconds),  # type: ignore[misc]
                lambda shape=shape: ask(peer, shape, seconds),  # type: ignore[misc]
                rounds=QUICK_ROUNDS if options.quick else ROUNDS,
            )
            rows.append(
                row(
                    shape.name,
                    mine,
                    theirs,
                    "char/s",
                    shape.target,
                    description,
                    more_is_better=True,
                )
            )
    return rows


def ask(pipe: Connection, shape: Shape, seconds: float) -> float:
    """Request one measurement from the process at the other end of `pipe`."""
    pipe.send((shape, seconds))
    speed: float = pipe.recv()
    return speed


if __name__ == "__main__":
    main("Training: characters per second of one step", measure)
